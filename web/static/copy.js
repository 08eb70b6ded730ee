// Owns copying: a button at each [data-copy], which says what it did. Without this module the text can be marked by hand.

async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Pages over plain HTTP from another machine have no clipboard.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("not copied");
}

function equip(root) {
  for (const place of root.querySelectorAll("[data-copy]:not([data-equipped])")) {
    place.dataset.equipped = "";
    const code = place.querySelector("code");
    const button = document.createElement("button");
    const name = place.querySelector("pre")?.getAttribute("aria-label");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    if (name) button.setAttribute("aria-label", `Copy: ${name}`);
    const said = document.createElement("span");
    said.className = "sr";
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      try {
        await write(code.textContent);
        said.textContent = button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        said.textContent = button.textContent = "Press Ctrl+C";
      }
      setTimeout(() => {
        button.textContent = "Copy";
        said.textContent = "";
      }, 2000);
    });
    place.append(button, said);
  }
}

equip(document);
document.addEventListener("swapped", (event) => equip(event.target));
