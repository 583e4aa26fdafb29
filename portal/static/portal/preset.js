/* Optional: of the sizing fields it shows those that the chosen rule uses, and those with a fault. What was typed in
   the others stays and is sent. Without it all are shown. */
(() => {
  const rule = document.querySelector("#preset-form [name=sizing_mode]");
  if (!rule) return;
  const show = () => document.querySelectorAll("#preset-form [data-rules]").forEach((input) => {
    const field = input.closest(".fc-field");
    field.hidden = !input.dataset.rules.split(" ").includes(rule.value) && !field.querySelector(".fc-error");
  });
  rule.addEventListener("change", show);
  addEventListener("pageshow", show);  // the back button restores what was chosen
  show();
})();
