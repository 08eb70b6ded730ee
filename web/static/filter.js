// Owns filters: a form[data-filter] asks as soon as a choice is made, with an address that has no empty fields.
// A caller's key that is pasted into input[data-secret] never gets into an address: its SHA-256 does, under that name.

const KEY = /^tokn_[A-Za-z0-9]{38}$/;

async function digest(text) {
  const bytes = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(bytes)].map((one) => one.toString(16).padStart(2, "0")).join("");
}

async function go(form) {
  const address = new URL(form.action);
  address.search = "";
  for (const [name, value] of new FormData(form)) {
    const text = String(value).trim();
    const secret = form.elements[name]?.dataset?.secret;
    if (secret && KEY.test(text)) address.searchParams.append(secret, await digest(text));
    else if (text) address.searchParams.append(name, text);
  }
  location.assign(address);
}

for (const form of document.querySelectorAll("form[data-filter]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go(form);
  });
  form.addEventListener("change", (event) => {
    if (event.target.matches("select, [type=checkbox], [type=radio], [type=date]")) go(form);
  });
}
// Who comes back by the browser's button sees what the address says, not what was chosen last.
addEventListener("pageshow", (event) => {
  if (event.persisted) document.querySelectorAll("form[data-filter]").forEach((form) => form.reset());
});
