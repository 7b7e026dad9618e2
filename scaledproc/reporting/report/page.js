"use strict";
(() => {
  const make = (name, about = {}, ...content) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(about)) made.setAttribute(key, value);
    made.append(...content);
    return made;
  };
  const key = (row, at) => {
    const cell = row.cells[at];
    if (!cell) return "";
    const value = cell.dataset.value;
    return value === undefined ? (cell.classList.contains("none") ? null : cell.textContent.trim()) : Number(value);
  };
  const compare = (one, other) => {
    if (one === null || other === null) return 0;
    return typeof one === "number" && typeof other === "number"
      ? one - other : String(one).localeCompare(String(other), undefined, { numeric: true });
  };
  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => {
      const words = [...head.childNodes];
      if (!head.textContent.trim()) return;
      const button = make("button", { type: "button" });
      button.append(...words);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "descending"
          || (head.getAttribute("aria-sort") === null && !head.classList.contains("number"));
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "ascending" : "descending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [key(row, at), row]);
        rows.sort(([one], [other]) => {
          if ((one === null) !== (other === null)) return one === null ? 1 : -1;
          return (down ? 1 : -1) * compare(one, other);
        });
        body.append(...rows.map(([, row]) => row));
      });
    });
  };
  const searchable = (table) => {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < 6) return;
    const name = table.caption.textContent;
    const field = make("input", { type: "search", placeholder: "Search", "aria-label": `Search in: ${name}` });
    const told = make("span", { class: "note", "aria-live": "polite" });
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      told.textContent = words.length ? `${shown} of ${rows.length}` : "";
    });
    table.parentElement.before(make("div", { class: "tools" }, field, told));
  };
  const zoomable = (place) => {
    const regions = [...place.querySelectorAll(".zoom")];
    if (!regions.length) return;
    let scale = 1;
    const told = make("span", { class: "note", "aria-live": "polite" });
    const zoom = (next, from = regions[0], at = 0.5) => {
      const before = (from.scrollLeft + at * from.clientWidth) / from.scrollWidth;
      scale = Math.min(64, Math.max(1, next));
      for (const region of regions) {
        region.querySelector("svg.canvas").setAttribute("width", `${100 * scale}%`);
        region.scrollLeft = before * region.scrollWidth - at * region.clientWidth;
      }
      told.textContent = scale > 1 ? `${scale} times` : "";
    };
    const button = (text, label, act) => {
      const made = make("button", { type: "button", "aria-label": `${label}: ${place.querySelector("h3").textContent}` }, text);
      made.addEventListener("click", act);
      return made;
    };
    const tools = make("div", { class: "tools" },
      button("+", "Zoom in", () => zoom(scale * 2)),
      button("−", "Zoom out", () => zoom(scale / 2)),
      told);
    regions[0].closest("figure").before(tools);
    for (const region of regions) {
      region.addEventListener("scroll", () => {
        for (const other of regions) {
          if (other !== region && other.scrollLeft !== region.scrollLeft) other.scrollLeft = region.scrollLeft;
        }
      });
      region.addEventListener("keydown", (event) => {
        if (event.key === "+" || event.key === "=") zoom(scale * 2, region);
        else if (event.key === "-") zoom(scale / 2, region);
        else return;
        event.preventDefault();
      });
      region.addEventListener("wheel", (event) => {
        if (!event.ctrlKey) return;
        event.preventDefault();
        const box = region.getBoundingClientRect();
        zoom(event.deltaY < 0 ? scale * 2 : scale / 2, region, (event.clientX - box.left) / box.width);
      }, { passive: false });
    }
  };
  const enliven = () => {
    for (const table of document.querySelectorAll("table.live")) { searchable(table); sortable(table); }
    for (const place of document.querySelectorAll(".block")) zoomable(place);
  };
  // As it came, before this script changed it: what is equal is left alone, with what was searched, sorted and zoomed.
  let shown = document.querySelector("main").innerHTML;
  enliven();
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of opened) each.open = false; });
  const live = document.body.dataset.live;
  if (!live) return;
  const ask = async () => {
    try {
      const answer = await fetch(live, { cache: "no-store" });
      const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      const content = next && next.innerHTML;
      const isBusy = document.activeElement && document.activeElement.matches("main input");
      if (answer.ok && next && !isBusy && content !== shown) {
        shown = content;
        const open = new Set([...document.querySelectorAll("details[open] > summary")].map((each) => each.textContent));
        document.querySelector("main").replaceWith(document.adoptNode(next));
        for (const each of document.querySelectorAll("summary")) {
          if (open.has(each.textContent)) each.parentElement.open = true;
        }
        enliven();
      }
    } catch { /* the server is gone for now */ }
    // A run that is over may be updated: that is looked for from time to time.
    setTimeout(ask, document.querySelector(".state.done, .state.failed") ? 20000 : 2000);
  };
  setTimeout(ask, 2000);
})();
