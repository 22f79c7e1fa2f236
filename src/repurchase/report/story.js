// One customer's story: the orders on a line, rhythm, risk, reasons, and what to do.

const SVG = "http://www.w3.org/2000/svg";
let teller = null; // what the story was opened from

function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}

// Purchases, where the page was made with the orders: days back from the one after, latest first, of all rows in turn.

const bought = data.bought ?? null;
const starts = [];
if (bought) bought.n.reduce((sum, n, row) => ((starts[row] = sum), sum + n), 0);
const due = new Map((data.due ?? []).map(([row, ...told]) => [row, told]));

function purchases(row) {
  const made = [];
  let when = 0;
  for (let place = starts[row]; place < starts[row] + bought.n[row]; place++) {
    when -= bought.back[place];
    made.push({ day: when, money: bought.money ? bought.money[place] : null });
  }
  return made.reverse();
}

const drawn = (row) => (bought ? purchases(row) : []);
const gaps = (made) => made.slice(1).map((one, place) => one.day - made[place].day);
const rising = (values) => [...values].sort((a, b) => a - b);
const quantile = (sorted, part) => sorted[Math.max(Math.ceil(part * sorted.length) - 1, 0)];

// Marks stand on the line; many of them are thin, and where they crowd they still leave a gap.
function marks(made, x) {
  const base = 84;
  const most = Math.max(...made.map((one) => one.money ?? 0));
  const apart = rising(gaps(made).map((gap) => x(gap) - x(0)));
  const least = made.length > 10 ? 1 : 2;
  const wide = made.length > 1 ? Math.min(Math.max(0.6 * quantile(apart, 0.1), least), 6) : 6;
  return made.map((one) => {
    const tall = one.money === null || most <= 0 ? 24 : 8 + 32 * Math.sqrt(Math.max(one.money, 0) / most);
    const place = { x: x(one.day) - wide / 2, y: base - tall, width: wide, height: tall };
    const mark = shape("rect", { ...place, class: "bought" });
    mark.append(shape("title", {}, [day(one.day), ...(one.money === null ? [] : [money(one.money)])].join(": ")));
    return mark;
  });
}

function drawing(row, made) {
  const width = Math.min(Math.max(at("told").clientWidth, 280), 900);
  const [seen, last, low, high] = ["first", "last", "low", "high"].map((name) => columns[name][row]);
  const first = made.length ? Math.min(seen, made[0].day) : seen;
  const ahead = high === null ? 0 : Math.min(high, Math.max(180, -first * 0.75));
  const span = Math.max(ahead - first, 1);
  const x = (days) => 10 + ((days - first) / span) * (width - 20);
  const line = made.length ? 86 : 70;
  const about = made.length ? say("story.drawing_all", { first: day(made[0].day), last: day(0) }) : say("story.drawing");
  const svg = shape("svg", { viewBox: `0 0 ${width} ${line + 70}`, role: "img", "aria-label": about, class: "line" });
  const label = (days, y, text) => {
    const side = x(days) < width / 3 ? "start" : x(days) > (2 * width) / 3 ? "end" : "middle";
    const long = 8 * text.length; // pixels, at most
    const begins = x(days) - { start: 0, middle: long / 2, end: long }[side];
    const place = begins < 0 ? [0, "start"] : begins + long > width ? [width, "end"] : [x(days), side];
    svg.append(shape("text", { x: place[0], y, "text-anchor": place[1] }, text));
  };
  const known = made.length ? made[0].day : first;
  if (known > first) svg.append(shape("line", { x1: x(first), x2: x(known), y1: line, y2: line, class: "past untold" }));
  svg.append(shape("line", { x1: x(known), x2: x(0), y1: line, y2: line, class: "past" }));
  if (low !== null && low < ahead) {
    const begin = Math.max(low, first);
    const wide = Math.max(x(ahead) - x(begin), 3);
    svg.append(shape("rect", { x: x(begin), y: line - 6, width: wide, height: 12, class: "range" }));
    label(Math.max((begin + ahead) / 2, 0), line + 60, say("story.expected"));
  }
  svg.append(shape("line", { x1: x(0), x2: x(0), y1: line - 18, y2: line + 22, class: "now" }));
  label(0, line + 38, `${say("story.now")}: ${day(0)}`);
  if (made.length) svg.append(...marks(made, x));
  else for (const days of new Set([first, last])) svg.append(shape("circle", { cx: x(days), cy: line, r: 6, class: "bought" }));
  const latest = made.length ? made.at(-1).day : last;
  if (latest !== first) label(first, 14, `${say("story.first")}: ${day(first)}`);
  label(latest, 34, `${say("story.last")}: ${day(latest)}`);
  return svg;
}

// The same as a table, for whoever cannot see the drawing, or wants the figures.
function table(made) {
  const withMoney = made.some((one) => one.money !== null);
  const heading = (key, kind) => element("th", { scope: "col", class: kind }, say(key));
  const number = (text) => element("td", { class: "n" }, text);
  const since = [null, ...gaps(made)];
  const rows = made.map((one, place) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, day(one.day)),
      ...(withMoney ? [number(money(one.money))] : []),
      number(since[place] === null ? "–" : whole(since[place])),
    ),
  );
  const titles = [heading("story.table_day", "")];
  if (withMoney) titles.push(heading("story.table_money", "n"));
  titles.push(heading("story.table_gap", "n"));
  const name = counted("story.table", made.length);
  const all = element(
    "table",
    { class: "purchases" },
    element("caption", {}, at("story-heading").textContent),
    element("thead", {}, element("tr", {}, ...titles)),
    element("tbody", {}, ...rows.reverse()),
  );
  return element("details", {}, element("summary", {}, name), all);
}

function notes(row, made) {
  const told = [];
  if (made.length) told.push(say(made.some((one) => one.money !== null) ? "story.marks" : "story.marks_alike"));
  if (bought && bought.earlier[row]) told.push(counted("story.earlier", bought.earlier[row]));
  if (bought && !made.length) told.push(say("story.absent"));
  const small = told.length ? [element("p", {}, element("small", {}, told.join(" ")))] : [];
  return made.length ? [...small, table(made)] : small;
}

function runsOut(row) {
  if (!due.has(row)) return [];
  const [place, on, low, high] = due.get(row);
  const [product, goesWith] = data.goods[place];
  const when = { product, day: day(on), low: day(low), high: day(high) };
  return [say("story.runs_out", when), goesWith].filter(Boolean);
}

function sentences(row, made) {
  const days = columns.days[row];
  const [first, last] = [columns.first[row], columns.last[row]];
  const silent = counted("n.day", -last);
  const told = [];
  if (days > 1) {
    const gap = counted("n.day", Math.round((last - first) / (days - 1)));
    told.push(say("story.bought", { days: counted("n.day", days), first: day(first), last: day(last) }));
    told.push(say("story.rhythm", { gap, silent }));
    const sorted = rising(gaps(made));
    if (sorted.length >= 4) {
      const [low, middle, high] = [0.25, 0.5, 0.75].map((part) => quantile(sorted, part));
      const usual = { gap: counted("n.day", middle), low: whole(low), high: counted("n.day", high) };
      told.push(say(low < high ? "story.usual" : "story.usual_always", usual));
    }
  } else {
    told.push(say("story.bought_once", { first: day(first) }), say("story.silent", { silent }));
  }
  const band = named(data.bands, columns.band[row]);
  told.push(say("story.chance", { within: words.within, p: share(columns.p[row]), band }));
  if (columns.due[row] !== null) {
    const [due, low, high] = ["due", "low", "high"].map((name) => day(columns[name][row]));
    told.push(say("story.next", { day: due, low, high }));
  }
  if (hasMoney) {
    const [clv, at_risk, spent] = ["clv", "risk", "spent"].map((name) => money(columns[name][row]));
    told.push(say("story.worth", { clv, at_risk, spent, within: words.clvWithin }));
  }
  return told;
}

function tell(row, from = null) {
  at("story-heading").textContent = say("story.of", { customer: columns.id[row] });
  at("whose").value = columns.id[row];
  const made = drawn(row);
  const facts = [...sentences(row, made), ...runsOut(row)].map((text) => element("p", {}, text));
  const why = element("p", {}, element("b", {}, say("story.why")), " ", ...broken(reasons(row)));
  const todo = element("p", {}, element("b", {}, say("story.todo")), " ", named(data.actions, columns.action[row]));
  at("told").replaceChildren(drawing(row, made), ...notes(row, made), ...facts, why, todo);
  if (from) {
    teller = from;
    at("story-heading").focus();
    at("story").scrollIntoView({ block: "start" });
  }
}

function find(event) {
  event.preventDefault();
  const wanted = at("whose").value.trim().toLowerCase();
  const row = ids.indexOf(wanted);
  if (row >= 0) tell(row);
  else at("told").replaceChildren(element("p", {}, say("story.unknown")));
}

at("choose").addEventListener("submit", find);
at("back").addEventListener("click", () => {
  const target = teller && teller.isConnected ? teller : at("search");
  target.focus();
  target.scrollIntoView({ block: "center" });
});
at("story").hidden = false;
begin();
if (view.length) tell(view[0]);
