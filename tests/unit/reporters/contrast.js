// The texts of a page that don't stand out from what is behind them (WCAG 2: 4.5), as lines of element, text and ratio.
(() => {
  const parse = (color) => { const all = color.match(/[\d.]+/g).map(Number); return all.length < 4 ? [...all, 1] : all; };
  const over = (front, back) => [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3])).concat(1);
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((x) => { x /= 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const found = [];
    for (let each = element; each; each = each.parentElement) found.push(parse(getComputedStyle(each).backgroundColor));
    return found.reverse().reduce((back, front) => over(front, back), [255, 255, 255, 1]);
  };
  const inside = (inner, outer) => inner.left >= outer.left - 1 && inner.top >= outer.top - 4 && inner.left < outer.right && inner.bottom <= outer.bottom + 4;
  document.querySelectorAll("details").forEach((each) => { each.open = true; });
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const bad = [];
  let count = 0;
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.textContent.trim() || element.closest("title, style") || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const pictures = [];
    for (let each = element.closest("svg"); each; each = each.parentElement.closest("svg")) pictures.push(each);
    let back = behind(pictures.length ? pictures.at(-1).parentElement : element);
    const place = element.getBoundingClientRect();
    for (const rect of pictures.length ? pictures.at(-1).querySelectorAll("rect") : []) {
      const look = getComputedStyle(rect);
      if (look.fill === "none" || !inside(place, rect.getBoundingClientRect())) continue;
      const fill = parse(look.fill);
      back = over([...fill.slice(0, 3), fill[3] * look.opacity * look.fillOpacity], back);
    }
    const front = over(parse(pictures.length ? style.fill : style.color), back);
    const [low, high] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    count += 1;
    if (ratio < 4.5) bad.push(`${element.tagName}.${element.getAttribute("class")}: ${texts.currentNode.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return JSON.stringify({ count, bad });
})()
