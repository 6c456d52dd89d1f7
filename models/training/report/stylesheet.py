"""How the page looks: one column of text, light or dark as the reader has it, and on paper."""

STYLESHEET = """\
:root {
  --ground: #fff; --text: #1b1f24; --faint: #59636e; --line: #d5dbe1; --band: #f5f7f9; --accent: #0b5cad;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --text: #e4e8ec; --faint: #9aa5b1; --line: #343b43; --band: #1b2026;
    --accent: #7db7f2;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 68rem; background: var(--ground);
  color: var(--text); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif;
}
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 3rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: 1.35rem; }
h3 { margin: 0 0 .25rem; font-size: 1rem; }
h3 span, figcaption span { margin-right: .4em; color: var(--faint); font-weight: 400; }
p { margin: .6rem 0; max-width: 44rem; }
a { color: var(--accent); }
.subtitle { margin-top: .4rem; font-size: 1.1rem; color: var(--faint); }
.date, .note, figcaption { color: var(--faint); font-size: .9rem; }
.note { margin: 0 0 .5rem; }
pre {
  padding: .7rem .9rem; overflow-x: auto; background: var(--band); border-radius: .3rem; font-size: .85rem;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
pre.listing { white-space: pre; overflow-wrap: normal; font-size: .75rem; }
nav ol { padding-left: 1.4rem; columns: 16rem; font-size: .95rem; }
section.table, figure { margin: 2rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem; text-align: left; vertical-align: baseline; }
th { border-bottom: 2px solid var(--line); font-weight: 600; vertical-align: bottom; }
td { border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { padding-left: .25rem; }
td:first-child { min-width: 9rem; }
tbody tr:nth-child(even) { background: var(--band); }
.dense table { font-size: .8rem; }
.dense th, .dense td { padding: .25rem .4rem; }
.n, .i { text-align: right; }
td.n, .i { white-space: nowrap; }
.i { padding-left: 0; color: var(--faint); font-size: .85em; }
img { display: block; max-width: 100%; height: auto; background: #fff; border-radius: .3rem; }
figcaption { max-width: 44rem; margin-top: .5rem; }
figcaption strong { color: var(--text); }
@media (max-width: 40rem) {
  body { padding-top: 1.25rem; }
  h1 { font-size: 1.5rem; }
  th, td { padding: .25rem .45rem; }
  img.wide { width: 38rem; max-width: none; }
}
@media print {
  :root { --ground: #fff; --text: #000; --faint: #444; --line: #bbb; --band: #fff; --accent: #000; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  table { font-size: 7.5pt; }
  th, td { padding: .2rem .4rem; }
  nav { display: none; }
  .scroll { overflow: visible; }
  pre.listing { white-space: pre-wrap; }
  section.table, figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  img { max-height: 8.5cm; width: auto; }
}
"""
