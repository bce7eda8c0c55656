"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const filters = document.getElementById("filters");
const list = document.getElementById("samples");
const count = document.getElementById("count");
const dialog = document.getElementById("one");
const STEP = 240;
let found = [];
let shown = 0;

function make(tag, attributes, ...children) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...children);
  return element;
}

/* What an address says is chosen: dimension -> a value, or a group's name behind "=". */
function chosen() {
  return new URLSearchParams(location.hash.slice(1));
}

function choose(name, value) {
  const wanted = chosen();
  if (value) wanted.set(name, value); else wanted.delete(name);
  history.replaceState(null, "", "#" + wanted.toString());
  show();
}

for (const dimension of data.dimensions) {
  const select = make("select", { id: "f-" + dimension.name, onchange: () => choose(dimension.name, select.value) });
  select.append(make("option", { value: "", textContent: "all" }));
  for (const group of Object.keys(dimension.groups)) select.append(make("option", { value: group, textContent: group }));
  dimension.values.forEach((value, number) => select.append(make("option", { value, textContent: dimension.titles[number] })));
  filters.append(make("label", {}, dimension.title, select));
}
const words = make("input", { id: "f-text", type: "search", oninput: () => choose("text", words.value) });
filters.append(make("label", {}, "Text", words));
filters.append(make("button", { type: "button", textContent: "Show all", onclick: () => { history.replaceState(null, "", "#"); show(); } }));
filters.addEventListener("submit", (event) => event.preventDefault());

function show() {
  const wanted = chosen();
  const tests = [];
  data.dimensions.forEach((dimension, place) => {
    const value = wanted.get(dimension.name) || "";
    document.getElementById("f-" + dimension.name).value = value;
    if (!value) return;
    const numbers = new Set(Object.hasOwn(dimension.groups, value) ? dimension.groups[value] : [dimension.values.indexOf(value)]);
    tests.push((row) => row[1][place].some((number) => numbers.has(number)));
  });
  const text = (wanted.get("text") || "").toLowerCase();
  if (words.value.toLowerCase() !== text) words.value = wanted.get("text") || "";
  if (text) tests.push((row) => [data.ids[row[0]], row[2], ...row[3].map((fact) => fact[1])].some((part) => part.toLowerCase().includes(text)));
  found = data.rows.filter((row) => tests.every((test) => test(row)));
  count.textContent = found.length.toLocaleString("en") + " of " + data.rows.length.toLocaleString("en") + " samples";
  list.replaceChildren();
  shown = 0;
  more();
}

function thumb(image) {
  const sheet = Math.floor(image / data.perSheet);
  const place = image % data.perSheet;
  const inSheet = Math.min(data.perSheet, data.ids.length - sheet * data.perSheet);
  const rows = Math.ceil(inSheet / data.columns);
  const element = make("span", { className: "thumb" });
  element.style.backgroundImage = `url("sheet-${String(sheet).padStart(3, "0")}.jpg")`;
  element.style.backgroundSize = `${100 * data.columns}% ${100 * rows}%`;
  const x = data.columns > 1 ? (100 * (place % data.columns)) / (data.columns - 1) : 0;
  const y = rows > 1 ? (100 * Math.floor(place / data.columns)) / (rows - 1) : 0;
  element.style.backgroundPosition = `${x}% ${y}%`;
  return element;
}

function colour(row) {
  const place = data.dimensions.findIndex((dimension) => dimension.colours);
  const value = place < 0 ? undefined : data.dimensions[place].values[row[1][place][0]];
  return value === undefined ? "" : `var(--o-${value.replace(/[^\w-]/g, "")})`;
}

function named(row) {
  return data.dimensions.map((dimension, place) => [dimension.title, row[1][place].map((number) => dimension.titles[number]).join(", ")]);
}

function more() {
  for (const row of found.slice(shown, shown + STEP)) {
    const mark = make("span", { className: "mark" });
    mark.style.background = colour(row);
    const button = make("button", { type: "button", title: row[2], onclick: () => open(row) }, thumb(row[0]), mark);
    button.setAttribute("aria-label", named(row).map((pair) => pair.join(": ")).join("; "));
    list.append(make("li", {}, button));
  }
  shown = Math.min(shown + STEP, found.length);
}

function open(row) {
  const facts = [...named(row).filter((pair) => pair[1]), ...row[3], ["Image", data.ids[row[0]]]];
  const table = make("dl", {});
  for (const [label, text] of facts) table.append(make("dt", { textContent: label }), make("dd", { textContent: text }));
  const close = make("button", { type: "button", textContent: "Close", onclick: () => dialog.close() });
  dialog.replaceChildren(thumb(row[0]), make("p", { textContent: row[2] }), table, make("div", { className: "filters" }, close));
  dialog.showModal();
}

new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting) && shown < found.length) more(); }, { rootMargin: "800px" }).observe(document.getElementById("more"));
addEventListener("hashchange", show);
show();
