// What axe found in the theme's pages: regions without names, tables that scroll but not by keyboard, heads of columns that say nothing.
function mend() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  for (const bar of document.querySelectorAll(".md-code__nav")) bar.setAttribute("role", "none");
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) box.tabIndex = 0;
  for (const head of document.querySelectorAll("th:empty")) head.replaceWith(document.createElement("td"));
}
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true }); // the theme adds some of it late
mend();
