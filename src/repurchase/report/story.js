// One customer's story: the orders on a line, rhythm, risk, reasons, and what to do.

const SVG = "http://www.w3.org/2000/svg";
let teller = null; // what the story was opened from

function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}

function drawing(row) {
  const width = Math.min(Math.max(at("told").clientWidth, 280), 900);
  const [first, last, low, high] = ["first", "last", "low", "high"].map((name) => columns[name][row]);
  const ahead = high === null ? 0 : Math.min(high, Math.max(180, -first * 0.75));
  const span = Math.max(ahead - first, 1);
  const x = (days) => 10 + ((days - first) / span) * (width - 20);
  const svg = shape("svg", { viewBox: `0 0 ${width} 140`, role: "img", "aria-label": say("story.drawing"), class: "line" });
  const label = (days, y, text) => {
    const side = x(days) < width / 3 ? "start" : x(days) > (2 * width) / 3 ? "end" : "middle";
    svg.append(shape("text", { x: x(days), y, "text-anchor": side }, text));
  };
  svg.append(shape("line", { x1: x(first), x2: x(0), y1: 70, y2: 70, class: "past" }));
  if (low !== null && low < ahead) {
    const begin = Math.max(low, first);
    svg.append(shape("rect", { x: x(begin), y: 64, width: Math.max(x(ahead) - x(begin), 3), height: 12, class: "range" }));
    label(Math.max((begin + ahead) / 2, 0), 130, say("story.expected"));
  }
  svg.append(shape("line", { x1: x(0), x2: x(0), y1: 52, y2: 92, class: "now" }));
  label(0, 108, `${say("story.now")}: ${day(0)}`);
  for (const days of new Set([first, last])) svg.append(shape("circle", { cx: x(days), cy: 70, r: 6, class: "bought" }));
  if (last !== first) label(first, 22, `${say("story.first")}: ${day(first)}`);
  label(last, 44, `${say("story.last")}: ${day(last)}`);
  return svg;
}

function sentences(row) {
  const days = columns.days[row];
  const [first, last] = [columns.first[row], columns.last[row]];
  const silent = counted("n.day", -last);
  const told = [];
  if (days > 1) {
    const gap = counted("n.day", Math.round((last - first) / (days - 1)));
    told.push(say("story.bought", { days: counted("n.day", days), first: day(first), last: day(last) }));
    told.push(say("story.rhythm", { gap, silent }));
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
  const facts = sentences(row).map((text) => element("p", {}, text));
  const why = element("p", {}, element("b", {}, say("story.why")), " ", ...broken(reasons(row)));
  const todo = element("p", {}, element("b", {}, say("story.todo")), " ", named(data.actions, columns.action[row]));
  const note = columns.days[row] > 2 ? [element("p", {}, element("small", {}, say("story.between")))] : [];
  at("told").replaceChildren(drawing(row), ...note, ...facts, why, todo);
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
if (everyone.length) tell(0);
