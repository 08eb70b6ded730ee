// Owns sections that stay live: each [data-refresh] is asked for again every so many seconds, and swapped if it changed.
// Nothing is asked while nobody looks, and nothing is swapped under somebody's hands.

const SLOWEST_MS = 30_000;
const PATIENCE_MS = 10_000;

function isInUse(section) {
  const focused = document.activeElement;
  return section.contains(focused) && focused.matches("input, select, textarea");
}

function swap(section, fresh) {
  const path = [...section.querySelectorAll("details")].map((one) => one.open);
  const focus = [...section.querySelectorAll("a, button, summary, [tabindex]")].indexOf(document.activeElement);
  section.replaceChildren(...fresh.childNodes);
  section.querySelectorAll("details").forEach((one, number) => (one.open = path[number] ?? one.open));
  if (focus >= 0) section.querySelectorAll("a, button, summary, [tabindex]")[focus]?.focus({ preventScroll: true });
  section.dispatchEvent(new Event("swapped", { bubbles: true }));
}

function follow(section) {
  const every = 1000 * Number(section.dataset.refresh);
  let wait = every;
  let shown = null;
  const again = () => setTimeout(look, wait);
  async function look() {
    if (!section.isConnected) return;
    if (document.hidden) {
      document.addEventListener("visibilitychange", look, { once: true });
      return;
    }
    try {
      const answer = await fetch(section.dataset.from || location.href, {
        headers: { accept: "text/html" },
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if (answer.redirected || answer.status === 401) return location.reload(); // the session has ended
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById(section.id);
      if (!fresh) throw new Error("no such section");
      if (shown !== fresh.innerHTML && !isInUse(section)) {
        shown = fresh.innerHTML;
        swap(section, fresh);
      }
      wait = every;
      section.classList.remove("stale");
    } catch {
      wait = Math.min(2 * wait, SLOWEST_MS);
      section.classList.add("stale");
    }
    again();
  }
  again();
}

document.querySelectorAll("[data-refresh][id]").forEach(follow);
