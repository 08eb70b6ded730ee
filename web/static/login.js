// Owns the sign-in link: its token is in the fragment, which no server or log sees; it is taken off and posted once.

const form = document.querySelector("form[data-login]");
const token = new URLSearchParams(location.hash.slice(1)).get("t");
if (location.hash) history.replaceState(null, "", location.pathname + location.search);
if (form && token) {
  form.elements.token.value = token;
  form.requestSubmit();
}
