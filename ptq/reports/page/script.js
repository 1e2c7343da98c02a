"use strict";
(function () {
  var byId = function (id) { return document.getElementById(id); };
  var root = document.documentElement;

  // language
  var language = byId("language");
  function setLanguage(to) {
    root.lang = to;
    language.textContent = to === "en" ? "中文" : "English";
    document.querySelectorAll("[data-en]").forEach(function (item) {
      if (item.tagName === "INPUT") { item.placeholder = item.dataset[to]; } else { item.textContent = item.dataset[to]; }
    });
    count();
  }
  language.addEventListener("click", function () { setLanguage(root.lang === "en" ? "zh" : "en"); });

  // compare mode
  var compare = byId("compare");
  if (compare) { compare.addEventListener("click", function () { document.body.classList.toggle("comparing"); }); }

  // the table of layers
  var table = byId("layers"), body = table && table.tBodies[0], rows = body ? Array.from(body.rows) : [];
  var search = byId("search"), block = byId("block");
  function closeDetails() { body.querySelectorAll(".opened").forEach(function (row) { row.remove(); }); }
  function isShown(row) {
    var name = row.dataset.name, prefix = block.value;
    return name.toLowerCase().includes(search.value.trim().toLowerCase()) && (!prefix || name.startsWith(prefix + "."));
  }
  function count() {
    if (!table) { return; }
    var shown = rows.filter(function (row) { return !row.hidden; }).length;
    byId("count").textContent = shown + " / " + rows.length;
  }
  function filter() {
    closeDetails();
    rows.forEach(function (row) { row.hidden = !isShown(row); });
    count();
  }
  function valueOf(row, column) {
    var cell = row.cells[column];
    if (!("v" in cell.dataset)) { return cell.textContent; }
    return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  }
  function sort(header) {
    var column = header.cellIndex, down = header.getAttribute("aria-sort") === "ascending";
    closeDetails();
    Array.from(header.parentNode.cells).forEach(function (cell) { cell.removeAttribute("aria-sort"); });
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    var keyed = rows.map(function (row) { return [valueOf(row, column), row]; });
    keyed.sort(function (a, b) {
      if (a[0] === null || b[0] === null) { return (a[0] === null) - (b[0] === null); }
      var order = typeof a[0] === "number" ? a[0] - b[0] : a[0].localeCompare(b[0]);
      return down ? -order : order;
    });
    rows = keyed.map(function (pair) { return pair[1]; });
    body.append.apply(body, rows);
  }
  function toggleDetail(row) {
    var next = row.nextElementSibling;
    if (next && next.classList.contains("opened")) { next.remove(); return; }
    var template = byId("d" + row.dataset.n);
    if (!template) { return; }
    var opened = document.createElement("tr"), cell = document.createElement("td");
    opened.className = "opened";
    cell.colSpan = row.cells.length;
    cell.append(template.content.cloneNode(true));
    opened.append(cell);
    row.after(opened);
  }
  if (table) {
    table.tHead.addEventListener("click", function (event) {
      var header = event.target.closest("th");
      if (header) { sort(header); }
    });
    body.addEventListener("click", function (event) {
      if (event.target.closest(".open")) { toggleDetail(event.target.closest("tr")); }
    });
    search.addEventListener("input", filter);
    block.addEventListener("change", filter);
    count();
  }

  // the network
  var graph = JSON.parse(byId("graph-data").textContent), place = byId("graph");
  if (!graph || !place) { return; }
  var SVG = "http://www.w3.org/2000/svg", ROW = 34, BOX = 24, WIDE = 330, INDENT = 60;
  var nodes = graph.nodes.map(function (n) {
    return { site: n[0], op: n[1], state: n[2], macs: n[3], db: n[4], time: n[5], path: n[0].split(".").slice(0, -1) };
  });
  var open = new Set();
  function ancestors(node) { return node.path.map(function (_, depth) { return node.path.slice(0, depth + 1).join("."); }); }
  function shownAs(node) {
    return ancestors(node).find(function (prefix) { return !open.has(prefix); }) || null;
  }
  function collect() {
    var found = new Map(), of = [];
    nodes.forEach(function (node, number) {
      var prefix = shownAs(node), key = prefix === null ? "=" + number : prefix;
      if (!found.has(key)) { found.set(key, { key: key, label: prefix === null ? node.site : prefix, isBlock: prefix !== null, members: [] }); }
      found.get(key).members.push(node);
      of.push(key);
    });
    var items = Array.from(found.values()), index = new Map(items.map(function (item, n) { return [item.key, n]; })), pairs = new Set();
    graph.edges.forEach(function (edge) {
      var a = index.get(of[edge[0]]), b = index.get(of[edge[1]]);
      if (a !== b) { pairs.add(a + " " + b); }
    });
    return { items: items, pairs: Array.from(pairs, function (pair) { return pair.split(" ").map(Number); }) };
  }
  function mix(share) { return "hsl(" + Math.round(120 * Math.max(0, Math.min(1, share))) + " 60% 72%)"; }
  var slowest = 1;
  function colour(item, kind) {
    var grey = "#c9ced6", members = item.members;
    if (kind === "error") {
      var known = members.filter(function (n) { return n.db !== null; }).map(function (n) { return n.db; });
      return known.length ? mix((Math.min.apply(null, known) - 10) / 35) : grey;
    }
    if (kind === "time") {
      var time = members.reduce(function (sum, n) { return sum + (n.time || 0); }, 0);
      return members.some(function (n) { return n.time !== null; }) ? mix(1 - time / slowest) : grey;
    }
    var all = members.reduce(function (sum, n) { return sum + n.macs; }, 0);
    var int8 = members.reduce(function (sum, n) { return sum + (n.state === "int8" ? n.macs : 0); }, 0);
    if (all) { return mix(int8 / all); }
    var states = members.map(function (n) { return n.state; });
    return states.includes("float") || states.includes("observed") ? mix(0.15) : states.includes("int8") ? mix(1) : grey;
  }
  function make(name, attributes, parent) {
    var made = document.createElementNS(SVG, name);
    Object.keys(attributes).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    parent.append(made);
    return made;
  }
  function caption(item) {
    if (!item.isBlock) { return item.label + (item.members[0].op ? "  " + item.members[0].op : ""); }
    return "▸ " + item.label + "  (" + item.members.length + ")";
  }
  function tip(item) {
    var lines = item.members.slice(0, 12).map(function (n) {
      return n.site + ": " + n.state + (n.db === null ? "" : ", " + n.db.toFixed(1) + " dB") + (n.time === null ? "" : ", " + n.time.toFixed(0) + " µs");
    });
    return lines.join("\n");
  }
  function drawEdge(svg, a, b) {
    var y1 = a * ROW + BOX + 6, y2 = b * ROW + 6, x = INDENT + 30;
    if (b === a + 1) { make("path", { "class": "edge", d: "M" + x + " " + y1 + "V" + y2 }, svg); return; }
    var reach = Math.min(150, 14 + 6 * Math.abs(b - a)), right = b > a, from = right ? INDENT + WIDE : INDENT;
    var bend = right ? from + reach : from - Math.min(reach, INDENT - 6);
    var start = a * ROW + 6 + BOX / 2, end = b * ROW + 6 + BOX / 2;
    make("path", { "class": "edge", d: "M" + from + " " + start + "C" + bend + " " + start + " " + bend + " " + end + " " + from + " " + end }, svg);
  }
  function draw() {
    var view = collect(), kind = byId("colour").value;
    slowest = Math.max.apply(null, [1].concat(view.items.map(function (item) {
      return item.members.reduce(function (sum, n) { return sum + (n.time || 0); }, 0);
    })));
    var width = INDENT + WIDE + 170, height = view.items.length * ROW + 12;
    var svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
    view.pairs.forEach(function (pair) { drawEdge(svg, pair[0], pair[1]); });
    view.items.forEach(function (item, n) {
      var group = make("g", { "class": "node" + (item.isBlock ? " block" : ""), transform: "translate(" + INDENT + " " + (n * ROW + 6) + ")" }, svg);
      make("rect", { width: WIDE, height: BOX, fill: colour(item, kind) }, group);
      var label = make("text", { x: 8, y: 16 }, group), words = caption(item);
      label.textContent = words.length > 48 ? "…" + words.slice(-47) : words;
      make("title", {}, group).textContent = tip(item);
      if (item.isBlock) { group.addEventListener("click", function () { open.add(item.key); draw(); }); }
      if (!item.isBlock && item.members[0].path.length) {
        group.addEventListener("dblclick", function () { open.delete(item.members[0].path.join(".")); draw(); });
      }
    });
    place.replaceChildren(svg);
  }
  function expandAll() { nodes.forEach(function (node) { ancestors(node).forEach(function (prefix) { open.add(prefix); }); }); }
  byId("colour").addEventListener("change", draw);
  byId("expand").addEventListener("click", function () { expandAll(); draw(); });
  byId("collapse").addEventListener("click", function () { open.clear(); draw(); });
  if (nodes.length <= 60) { expandAll(); }
  draw();
})();
