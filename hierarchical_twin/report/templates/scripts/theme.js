// The button that makes the page dark or light.
function theme() {
  const control = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const name = () => { control.textContent = isDark() ? "Light page" : "Dark page"; };
  control.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; name(); });
  system.addEventListener("change", name);
  control.hidden = false;
  name();
}
