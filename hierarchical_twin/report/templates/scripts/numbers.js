// How numbers are written: the same rules as report/page/numbers.py.
const SUPERSCRIPTS = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

function plain(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const shown = Number(value.toExponential(digits - 1));
  const power = Math.floor(Math.log10(Math.abs(shown)));
  let text;
  if (power > -4 && power < 6) {
    const decimals = Math.max(0, digits - 1 - power);
    text = shown.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  } else {
    const raised = [...String(power)].map((sign) => SUPERSCRIPTS[sign]).join("");
    text = `${(shown / 10 ** power).toFixed(digits - 1)} × 10${raised}`;
  }
  return text.replace("-", "−");
}

function span(lower, upper) {
  return lower === null || upper === null ? "–" : `${plain(lower)} to ${plain(upper)}`;
}

function percent(share) {
  return share === null || share === undefined ? "–" : `${Math.round(100 * share)} %`.replace("-", "−");
}

function tick(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return plain(value, 1).replace(/\.0 /, " ");
  return String(Number(value.toPrecision(6))).replace("-", "−");
}

function withUnit(name, unit) {
  return unit ? `${name} (${unit})` : name;
}
