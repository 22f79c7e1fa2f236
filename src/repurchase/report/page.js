"use strict";
// The list of customers: search, filters, order, pages and the file. All it shows stands in the page's two JSON
// blocks; nothing is fetched. A customer is a row number; columns hold a value per row.

const at = (id) => document.getElementById(id);
const data = JSON.parse(at("customer-data").textContent);
const words = JSON.parse(at("page-words").textContent);
const columns = data.columns;
const hasMoney = "clv" in columns;

// Words, numbers and days, as the page's language writes them.

const say = (key, values = {}) => words.texts[key].replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
const plurals = new Intl.PluralRules(words.locale);
const whole = (value) => String(Math.abs(value)).replace(/\B(?=(\d{3})+$)/g, say("number.group"));
const decimal = (value, places) => value.toFixed(places).replace(".", say("number.decimal"));
const counted = (key, n) => words.plurals[key][plurals.select(n)].replace("{n}", whole(n));

function money(value) {
  if (value === null) return "–";
  return say(value < 0 ? "number.negative_money" : "number.money", { value: whole(value) });
}

function share(tenThousandths) {
  if (tenThousandths === null) return "–";
  const percent = 100 * (tenThousandths / 10000);
  if (percent > 0 && percent < 0.1) return "<\u202f" + say("number.percent", { value: decimal(0.1, 1) });
  if (percent > 99.9 && percent < 100) return ">\u202f" + say("number.percent", { value: decimal(99.9, 1) });
  const places = (percent > 0 && percent < 9.95) || (percent > 99 && percent < 100) ? 1 : 0;
  return say("number.percent", { value: decimal(percent, places) });
}

const date = (days) => new Date(Date.parse(data.asOf) + days * 86400000);
const isoDay = (days) => (days === null ? "" : date(days).toISOString().slice(0, 10));

function day(days) {
  if (days === null) return "–";
  const when = date(days);
  const [number, month] = [when.getUTCDate(), when.getUTCMonth()];
  const two = (part) => String(part).padStart(2, "0");
  const parts = { day: number, day2: two(number), month1: month + 1, month2: two(month + 1), month: words.months[month] };
  return say("date.short", { ...parts, year: when.getUTCFullYear() });
}

const ago = (days) => (days === 0 ? say("time.today") : counted("time.days_ago", -days));

// Beside which rhythm a customer is silent, where they stand in their segment for it and no reason says so.
const silent = new Set(data.silent);
const rhythm = new Set(data.rhythm);

function beyond(row) {
  const repeats = columns.days[row] - 1;
  const isTold = columns.reasons[row].some((code) => rhythm.has(Math.floor(code / 3)));
  if (repeats < 1 || isTold || !silent.has(columns.segment[row])) return [];
  const gap = Math.max(Math.round((columns.last[row] - columns.first[row]) / repeats), 1);
  const long = say("people.beyond", { silent: counted("n.day", -columns.last[row]) });
  if (gap >= -columns.last[row]) return [long];
  return [say("people.beyond_average", { beyond: long, every: counted("phrase.every.day", gap) })];
}

const named = (names, place) => (place === null ? "–" : names[place]);

// Each direction is named once, that of the strongest reason first.
function reasons(row) {
  const told = new Map();
  for (const code of columns.reasons[row]) {
    const side = ["", "raises", "lowers"][code % 3];
    const fact = data.facts[Math.floor(code / 3)];
    told.set(side, told.has(side) ? `${told.get(side)}; ${fact}` : fact);
  }
  const lines = [...told].map(([side, fact]) => (side ? say(`reason.${side}`, { fact }) : fact));
  const all = [...beyond(row), ...lines];
  return all.length ? all : [say("reason.nothing")];
}

// What is shown: row numbers that the search and the filters leave, in order.

const everyone = columns.id.map((_, row) => row);
const ids = columns.id.map((id) => id.toLowerCase());
const collator = new Intl.Collator(words.locale, { numeric: true });
const chosen = { text: "", segment: "", band: "", key: hasMoney ? "risk" : "", down: true, page: 0 };
let view = everyone;
const perPage = matchMedia("(max-width: 56rem)").matches ? 15 : words.pages; // cards are tall

function matching() {
  const text = chosen.text.trim().toLowerCase();
  const segment = chosen.segment === "" ? null : Number(chosen.segment);
  const band = chosen.band === "" ? null : Number(chosen.band);
  const told = text ? data.facts.map((fact) => fact.toLowerCase().includes(text)) : [];
  const saysSo = (row) => columns.reasons[row].some((code) => told[Math.floor(code / 3)]);
  return everyone.filter(
    (row) =>
      (segment === null || columns.segment[row] === segment) &&
      (band === null || columns.band[row] === band) &&
      (!text || ids[row].includes(text) || saysSo(row)),
  );
}

function ordered(rows) {
  if (!chosen.key) return rows;
  const values = columns[chosen.key];
  const down = chosen.down ? -1 : 1;
  const order = {
    id: (a, b) => collator.compare(values[a], values[b]),
    segment: (a, b) => collator.compare(named(data.segments, values[a]), named(data.segments, values[b])),
  };
  const compare = order[chosen.key] ?? ((a, b) => (values[a] ?? -Infinity) - (values[b] ?? -Infinity));
  return rows.sort((a, b) => down * compare(a, b) || a - b);
}

function element(tag, attributes, ...content) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...content);
  return made;
}

const broken = (lines) => lines.flatMap((line, place) => (place ? [document.createElement("br"), line] : [line]));

function shownRow(row) {
  const cell = (label, content, kind = "") =>
    element("td", { role: "cell", class: kind, "data-label": say(label) }, ...content);
  const open = element("button", { type: "button", class: "link" }, columns.id[row]);
  open.addEventListener("click", () => tell(row, open));
  const band = named(data.bandKeys, columns.band[row]);
  const mark = element("span", { class: `band ${band}` }, named(data.segments, columns.segment[row]));
  const risk = element("small", {}, `${say("people.risk")}: ${named(data.bands, columns.band[row])}`);
  const last = [day(columns.last[row]), element("br", {}), element("small", {}, ago(columns.last[row]))];
  const figures = hasMoney
    ? [cell("people.clv", [money(columns.clv[row])], "n"), cell("people.at_risk", [money(columns.risk[row])], "n")]
    : [cell("people.orders", [whole(columns.days[row])], "n")];
  return element(
    "tr",
    { role: "row" },
    element("th", { role: "rowheader", scope: "row" }, open),
    cell("people.segment", [element("span", {}, mark, element("br", {}), risk)]),
    cell("people.last", [element("span", {}, ...last)]),
    cell("people.p_short", [share(columns.p[row])], "n"),
    ...figures,
    cell("people.why", [element("span", {}, ...broken(reasons(row)))]),
    cell("people.todo", [named(data.actions, columns.action[row])]),
  );
}

function show() {
  const from = chosen.page * perPage;
  const to = Math.min(from + perPage, view.length);
  at("people").tBodies[0].replaceChildren(...view.slice(from, to).map(shownRow));
  at("nobody").hidden = view.length > 0;
  at("people").hidden = view.length === 0;
  const place = { from: whole(view.length && from + 1), to: whole(to), total: whole(view.length) };
  at("count").textContent = say("people.shown", place);
  at("previous").disabled = from === 0;
  at("next").disabled = to >= view.length;
  for (const heading of document.querySelectorAll("#people th[data-key]")) {
    const now = heading.dataset.key === chosen.key;
    if (now) heading.setAttribute("aria-sort", chosen.down ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  }
}

function renew() {
  chosen.page = 0;
  view = ordered(matching());
  show();
}

// The file: what the search and the filters leave, in the order shown. Text that a spreadsheet would run as a formula
// gets an apostrophe; line breaks become blanks.

function safe(text) {
  const flat = text.replace(/[\p{Cc}\u2028\u2029]+/gu, " ");
  const runs = /^\s*[=+\-@＝＋－＠]/u.test(flat) && !/^-?\d+([.,]\d+)?$/.test(flat);
  return runs ? `'${flat}` : flat;
}

function fileText(rows) {
  const mark = say("number.csv_separator");
  const number = (value, places = 0) => (value === null ? "" : decimal(value, places));
  const table = [
    ["customer", (row) => safe(columns.id[row])],
    ["segment", (row) => safe(named(data.segments, columns.segment[row]))],
    ["risk", (row) => safe(named(data.bands, columns.band[row]))],
    ["first", (row) => isoDay(columns.first[row])],
    ["last", (row) => isoDay(columns.last[row])],
    ["orders", (row) => number(columns.days[row])],
    ["p", (row) => number(columns.p[row] === null ? null : columns.p[row] / 10000, 4)],
    ["next", (row) => isoDay(columns.due[row])],
    ["why", (row) => safe(reasons(row).join("; "))],
    ["todo", (row) => safe(named(data.actions, columns.action[row]))],
  ];
  const figures = [["spent", "spent"], ["clv", "clv"], ["at_risk", "risk"]];
  if (hasMoney) table.splice(6, 0, ...figures.map(([name, key]) => [name, (row) => number(columns[key][row])]));
  const quoted = (text) => (/["\n\r]/.test(text) || text.includes(mark) ? `"${text.replaceAll('"', '""')}"` : text);
  const heading = table.map(([name]) => quoted(safe(say(`people.${name}`, { within: words.within }))));
  const lines = rows.map((row) => table.map(([, write]) => quoted(write(row))).join(mark));
  return `\ufeff${[heading.join(mark), ...lines].join("\r\n")}\r\n`;
}

function save() {
  const address = URL.createObjectURL(new Blob([fileText(view)], { type: "text/csv;charset=utf-8" }));
  element("a", { href: address, download: say("people.file") }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}

// Controls.

function offer(select, names) {
  names.forEach((name, place) => select.append(element("option", { value: place }, name)));
}

function sortable(heading) {
  const key = heading.dataset.key;
  const button = element("button", { type: "button", class: "sort" }, ...heading.childNodes);
  heading.append(button);
  button.addEventListener("click", () => {
    const isText = key === "id" || key === "segment";
    chosen.down = chosen.key === key ? !chosen.down : !isText;
    chosen.key = key;
    renew();
  });
}

function turn(pages) {
  chosen.page += pages;
  show();
  at("people").scrollIntoView({ block: "start" });
}

function begin() {
  offer(at("by-segment"), data.segments);
  offer(at("by-risk"), data.bands);
  document.querySelectorAll("#people th[data-key]").forEach(sortable);
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const [id, key] of [["search", "text"], ["by-segment", "segment"], ["by-risk", "band"]]) {
    at(id).addEventListener("input", () => {
      chosen[key] = at(id).value;
      renew();
    });
  }
  at("export").addEventListener("click", save);
  at("previous").addEventListener("click", () => turn(-1));
  at("next").addEventListener("click", () => turn(1));
  at("controls").hidden = at("pages").hidden = false;
  document.querySelectorAll(".static").forEach((note) => note.remove());
  if (data.first !== null) chosen.segment = at("by-segment").value = String(data.first); // as the headline says
  renew();
}
