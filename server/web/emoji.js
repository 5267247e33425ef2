// @ts-check
// Emoji: a picker beside the composer, and `:shortcodes:` in what is written. Loaded when it is first wanted. Each emoji is read aloud by
// the screen reader in the listener's language, so that only the groups have names of ours.

import { el, icon } from "./dom.js";
import { t } from "./i18n.js";

/** As wide as the grid is, so that the arrow keys know what is above and below. */
const COLUMNS = 8;
/** Between the button and the panel, and to the edge of the window, pixels. */
const GAP_PX = 8;

/** @type {[group: string, list: string][]} */
const GROUPS = [
  ["smileys", `😀 grinning,😃 smiley,😄 smile,😁 grin,😆 laughing,😅 sweat_smile,🤣 rofl,😂 joy,🙂 slightly_smiling_face,🙃 upside_down_face,😉 wink,😊 blush,
😇 innocent,🥰 smiling_face_with_three_hearts,😍 heart_eyes,🤩 star_struck,😘 kissing_heart,😋 yum,😜 stuck_out_tongue_winking_eye,🤪 zany_face,🤗 hugs,
🤭 hand_over_mouth,🤫 shushing_face,🤔 thinking,🤐 zipper_mouth_face,😐 neutral_face,😏 smirk,🙄 roll_eyes,😬 grimacing,😌 relieved,😴 sleeping,🤒 face_with_thermometer,
🥳 partying_face,😎 sunglasses,🤓 nerd_face,😕 confused,🙁 slightly_frowning_face,😮 open_mouth,😳 flushed,🥺 pleading_face,😢 cry,😭 sob,😱 scream,😞 disappointed,
😩 weary,🥱 yawning_face,😤 triumph,😡 rage,🤯 exploding_head,💀 skull,💩 poop,👻 ghost,🤖 robot,😈 smiling_imp`],
  ["people", `👍 +1,👎 -1,👌 ok_hand,✌️ v,🤞 crossed_fingers,🤙 call_me_hand,👋 wave,👏 clap,🙌 raised_hands,🙏 pray,🤝 handshake,💪 muscle,
👀 eyes,🧠 brain,🤷 shrug,🤦 facepalm,🙋 raising_hand,🏃 running,💃 dancer,👶 baby,👑 crown,👉 point_right,👆 point_up_2,☝️ point_up`],
  ["nature", `🐶 dog,🐱 cat,🐭 mouse,🦊 fox_face,🐻 bear,🐼 panda_face,🦁 lion,🐸 frog,🐵 monkey_face,🙈 see_no_evil,🐔 chicken,🐧 penguin,🦉 owl,🐝 bee,🦋 butterfly,🐢 turtle,
🐙 octopus,🐳 whale,🌸 cherry_blossom,🌻 sunflower,🌹 rose,🌲 evergreen_tree,🍀 four_leaf_clover,☀️ sunny,🌙 crescent_moon,⭐ star,🌈 rainbow,☔ umbrella,❄️ snowflake,🔥 fire,⚡ zap,🌊 ocean`],
  ["food", `🍎 apple,🍌 banana,🍓 strawberry,🍋 lemon,🍅 tomato,🥑 avocado,🥕 carrot,🍞 bread,🧀 cheese,🍕 pizza,🍔 hamburger,🍟 fries,🍝 spaghetti,🍣 sushi,🍪 cookie,
🎂 birthday,🍰 cake,🍫 chocolate_bar,🍿 popcorn,☕ coffee,🫖 teapot,🍵 tea,🍺 beer,🍻 beers,🍷 wine_glass,🥂 clinking_glasses`],
  ["places", `🏠 house,🏢 office,🚗 car,🚲 bike,🚆 train,✈️ airplane,🚀 rocket,🗺️ world_map,🏖️ beach_umbrella,⛺ tent,⚽ soccer,🏀 basketball,🎾 tennis,🎮 video_game,
🎲 game_die,🎯 dart,🎵 musical_note,🎸 guitar,🎬 clapper,📷 camera,📱 iphone,💻 computer,💡 bulb,📚 books,📎 paperclip,📌 pushpin,🔒 lock,🔑 key,🔔 bell,⏰ alarm_clock,
🎁 gift,🎈 balloon,🎉 tada,🏆 trophy,🥇 1st_place_medal`],
  ["symbols", `❤️ heart,🧡 orange_heart,💛 yellow_heart,💚 green_heart,💙 blue_heart,💜 purple_heart,🖤 black_heart,💔 broken_heart,💕 two_hearts,💯 100,✨ sparkles,💥 boom,
💤 zzz,💬 speech_balloon,✅ white_check_mark,❌ x,❓ question,❗ exclamation,⚠️ warning,🚫 no_entry_sign,♻️ recycle,➕ heavy_plus_sign,🆗 ok,🔴 red_circle,🟢 green_circle,
🏁 checkered_flag,🏳️‍🌈 rainbow_flag`],
];

/** @type {{group: string, emoji: {char: string, code: string}[]}[]} */
export const groups = GROUPS.map(([group, list]) => ({ group, emoji: list.split(",").map((entry) => {
  const [char, code] = entry.trim().split(" ");
  return { char, code };
}) }));

/** Other names by which people know them. @type {[code: string, same: string][]} */
const ALIASES = [["thumbsup", "+1"], ["thumbsdown", "-1"], ["thinking_face", "thinking"], ["party", "tada"], ["lol", "joy"], ["hug", "hugs"], ["check", "white_check_mark"],
  ["thanks", "pray"], ["poo", "poop"], ["sad", "cry"]];

const byCode = new Map(groups.flatMap(({ emoji }) => emoji.map(({ char, code }) => [code, char])));
for (const [code, same] of ALIASES) byCode.set(code, byCode.get(same) ?? "");

/**
 * Replaces `:smile:` and its like where they stand by themselves; what isn't known stays, and so does what is in code.
 * @param {string} text
 */
export function expand(text) {
  return text.replace(/(```[^]*?```|`[^`\n]+`)|(?<![\p{L}\p{N}_:/])(?::[\w+-]{1,40}:)+(?![\p{L}\p{N}_:])/gu, (whole, code) =>
    (code ? whole : whole.replace(/:([\w+-]+):/g, (known, name) => byCode.get(name) ?? known)));
}

/** A button, and the panel that it opens: a grid in which the arrow keys move, Enter picks and Escape goes back. */
export class EmojiPicker {
  #onPick;
  /** @type {HTMLElement | null} */
  #panel = null;
  /** @type {HTMLButtonElement[]} */
  #cells = [];

  /** @param {(emoji: string) => void} onPick */
  constructor(onPick) {
    this.#onPick = onPick;
    /** @type {HTMLButtonElement} */
    this.button = el("button", { type: "button", class: "icon-button emoji", title: t("emoji.open"), "aria-label": t("emoji.open"), "aria-haspopup": "dialog",
      "aria-expanded": "false", onclick: () => this.toggle() }, icon("smile"));
  }

  get open() {
    return this.#panel?.matches(":popover-open") ?? false;
  }

  toggle() {
    const panel = this.#panel ?? this.#build();
    panel.togglePopover();
  }

  #build() {
    const sections = groups.map(({ group, emoji }) => {
      const heading = `emoji-${group}`;
      const cells = emoji.map(({ char, code }) => el("button", { type: "button", class: "emoji-cell", tabindex: -1, title: `:${code}:`, text: char, data: { char } }));
      this.#cells.push(...cells);
      return el("section", { role: "group", "aria-labelledby": heading }, el("h3", { id: heading, text: t(`emoji.${group}`) }), el("div", { class: "emoji-grid" }, ...cells));
    });
    this.#cells[0].tabIndex = 0;
    const panel = el("div", { class: "emoji-panel", role: "dialog", "aria-label": t("emoji.title"), popover: "auto", onclick: (/** @type {Event} */ event) => this.#clicked(event),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#pressed(event), ontoggle: () => this.#toggled() }, ...sections);
    this.button.after(panel);
    this.#panel = panel;
    return panel;
  }

  #toggled() {
    this.button.setAttribute("aria-expanded", String(this.open));
    if (!this.open || !this.#panel) return;
    this.#place(this.#panel);
    (this.#cells.find((cell) => cell.tabIndex === 0) ?? this.#cells[0]).focus();
  }

  /** Above the button, within the window. @param {HTMLElement} panel */
  #place(panel) {
    const at = this.button.getBoundingClientRect();
    const width = panel.offsetWidth;
    const wanted = document.documentElement.dir === "rtl" ? at.left : at.right - width;
    const left = Math.max(GAP_PX, Math.min(wanted, innerWidth - width - GAP_PX));
    panel.style.left = `${left}px`;
    panel.style.bottom = `${innerHeight - at.top + GAP_PX}px`;
  }

  /** @param {Event} event */
  #clicked(event) {
    const char = event.target instanceof HTMLElement ? event.target.dataset.char : undefined;
    if (char === undefined) return;
    this.#panel?.hidePopover();
    this.#onPick(char);
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const at = this.#cells.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    const to = at < 0 ? undefined : this.#next(at, event.key);
    if (to === undefined) return;
    event.preventDefault();
    this.#cells[at].tabIndex = -1;
    this.#cells[to].tabIndex = 0;
    this.#cells[to].focus();
  }

  /** Returns where a key leads. @param {number} at @param {string} key */
  #next(at, key) {
    const last = this.#cells.length - 1;
    const forward = document.documentElement.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
    if (key === "ArrowLeft" || key === "ArrowRight") return Math.min(last, Math.max(0, at + (key === forward ? 1 : -1)));
    if (key === "Home") return 0;
    if (key === "End") return last;
    if (key === "ArrowDown" || key === "ArrowUp") return vertical(groups.map(({ emoji }) => emoji.length), at, key === "ArrowDown" ? 1 : -1);
    return undefined;
  }
}

/**
 * Returns the cell a row further, in the same column if that row has it: groups begin rows of their own.
 * @param {number[]} sizes of the groups @param {number} at @param {1 | -1} step
 */
export function vertical(sizes, at, step) {
  /** @type {number[][]} cells of each row */
  const rows = [];
  let next = 0;
  for (const size of sizes) {
    for (let first = 0; first < size; first += COLUMNS) rows.push(Array.from({ length: Math.min(COLUMNS, size - first) }, () => next++));
  }
  const row = rows.findIndex((cells) => cells.includes(at));
  const column = rows[row].indexOf(at);
  const other = rows[row + step];
  return other ? other[Math.min(column, other.length - 1)] : at;
}
