// Every string of the page, in both languages. `{name}` is filled in by `say`.

const WORDS = {
  en: {
    skip_link: "Skip to the list",
    tagline: "A recommender that listens, chooses and learns. Watch it do so.",
    language: "Language",
    ask_title: "Ask",
    utterance: "What are you looking for?",
    utterance_hint: "say it as you would to a friend, or nothing",
    examples: "Examples",
    user: "Who are you?",
    someone_new: "Someone new",
    attributes: "About you (may stay empty)",
    key: "Key of this server",
    key_note: "This server answers those who have a key. It stays in this tab until you close it.",
    recommend: "Recommend",
    heard_title: "What it heard",
    heard_silence: "Nothing was said: the list comes from the history alone.",
    heard_wait: "Intent, emotion and sentiment appear here.",
    intent: "Intent",
    emotion: "Emotion",
    sentiment: "Sentiment",
    history_title: "What you did",
    history_of: "as {user}",
    history_none: "Nothing yet. What you click and like is kept in this browser, for each user.",
    history_row: "{event}: {title}",
    forget: "Forget this user’s history",
    forgotten: "The history of {user} is forgotten in this browser.",
    slate_title: "The list",
    slate_note: "The bar is the probability with which an item was drawn for its place.",
    slate_wait: "Ask, and a list appears here.",
    slate_none: "There is nothing left to show: everything that fits has been seen or may not be shown.",
    propensity: "probability {value}",
    because: "because {reasons}",
    clicked: "you clicked {titles}",
    liked: "you liked {titles}",
    quoted: "{title}",
    comma: ", ",
    and: " and ",
    click: "Click",
    like: "Like",
    skip: "Skip",
    button_for: ": {title}",
    worth: "{event}, worth {reward}",
    untitled: "item {id}",
    unlogged: "The event log was not available for this list: what you do with it cannot be counted.",
    candidates: "What it chose from: the first {count} of {all} candidates",
    place: "Place",
    title: "Title",
    about: "What it is",
    shown: "In the list",
    shown_at: "place {place}",
    not_shown: "no",
    answered: "{count} items for {user}, by version {version}.",
    answered_heard: "{count} items for {user}, by version {version}. Heard: {intent}, {probability}.",
    asking: "Asking…",
    kept: "Kept: {event}, {title}.",
    waiting: "{count} events wait for the event log; they are sent again.",
    all_kept: "All events are kept.",
    rounds_title: "Round after round",
    rounds_note:
      "A simulated visitor likes whatever carries a word; every five rounds another one with the same taste comes.",
    taste: "The visitor likes",
    count: "Rounds (1 to 200)",
    play: "Play",
    stop: "Stop",
    clear: "Clear the charts",
    playing: "Round {round} of {count}.",
    played: "{count} rounds played. Reward in the first ten: {first}, in the last ten: {last}.",
    stopped: "Stopped after {count} rounds.",
    taste_missing: "Say what the visitor likes: a word of a title, or an attribute such as Comedy.",
    count_wrong: "Expected 1 to 200 rounds; choose a number in that range.",
    reward_title: "Reward per round",
    reward_note: "Sum over the list of each item’s best event; the line is the mean of the last ten rounds.",
    reward_label: "Reward per round, {count} rounds: mean of the first ten {first}, of the last ten {last}.",
    chance_title: "Left to chance",
    chance_note: "Mean over the list of 1 − probability; the line is the mean of the last ten rounds.",
    chance_label: "Share left to chance, {count} rounds: mean of the first ten {first}, of the last ten {last}.",
    versions_label: "The model version changed in rounds {rounds}.",
    chart_wait: "No round yet.",
    table: "As a table",
    round: "Round",
    mean: "Mean of ten",
    reward: "Reward",
    chance: "Chance",
    version: "Version",
    version_mark: "v{version}",
    facts: "Version {version} · {candidates} candidates a request · {floor} uniform exploration at least",
    facts_bare: "Version {version} · {candidates} candidates a request",
    documentation: "The server’s interface",
    trouble_0: "The server cannot be reached. Is it running?",
    trouble_400: "The server could not read the request.",
    trouble_401: "This server wants a key. Fill in the field “Key of this server” and ask again.",
    trouble_404: "The server does not know what was asked for.",
    trouble_413: "That was too much at once.",
    trouble_422: "The server does not take this.",
    trouble_500: "The server failed on this.",
    trouble_503: "The server is not ready. Ask again in a moment; nothing is lost.",
    trouble_504: "The server took too long. Ask again in a moment.",
    no_user: "Say who you are: any name will do, or choose “Someone new”.",
  },
  zh: {
    skip_link: "跳到推荐列表",
    tagline: "会倾听、会选择、会学习的推荐系统，请看它如何工作。",
    language: "语言",
    ask_title: "提问",
    utterance: "您想找什么？",
    utterance_hint: "像对朋友说话那样，也可以什么都不说",
    examples: "例子",
    user: "您是谁？",
    someone_new: "新的访客",
    attributes: "关于您（可以不填）",
    key: "本服务器的密钥",
    key_note: "此服务器只回答持有密钥的人。密钥只留在本标签页，关闭即失。",
    recommend: "推荐",
    heard_title: "听到了什么",
    heard_silence: "什么都没说：列表只来自历史记录。",
    heard_wait: "意图、情绪和倾向会显示在这里。",
    intent: "意图",
    emotion: "情绪",
    sentiment: "倾向",
    history_title: "您做过什么",
    history_of: "身份：{user}",
    history_none: "还没有。您点击和喜欢的内容按用户保存在本浏览器中。",
    history_row: "{event}：{title}",
    forget: "忘记该用户的历史",
    forgotten: "本浏览器已忘记 {user} 的历史。",
    slate_title: "推荐列表",
    slate_note: "横条表示该内容被抽到这一位置的概率。",
    slate_wait: "提问之后，列表会显示在这里。",
    slate_none: "没有可以显示的内容了：合适的都已看过，或者不允许显示。",
    propensity: "概率 {value}",
    because: "因为{reasons}",
    clicked: "您点击过{titles}",
    liked: "您喜欢{titles}",
    quoted: "《{title}》",
    comma: "、",
    and: "，",
    click: "点击",
    like: "喜欢",
    skip: "跳过",
    button_for: "：{title}",
    worth: "{event}，价值 {reward}",
    untitled: "内容 {id}",
    unlogged: "生成此列表时事件日志不可用：对它的操作无法计入。",
    candidates: "从哪些内容中选出：{all} 个候选中的前 {count} 个",
    place: "名次",
    title: "标题",
    about: "属性",
    shown: "在列表中",
    shown_at: "第 {place} 位",
    not_shown: "否",
    answered: "为 {user} 推荐 {count} 项，模型版本 {version}。",
    answered_heard: "为 {user} 推荐 {count} 项，模型版本 {version}。听到：{intent}，{probability}。",
    asking: "正在询问……",
    kept: "已记录：{event}，{title}。",
    waiting: "{count} 个事件在等待事件日志，将会重新发送。",
    all_kept: "所有事件都已记录。",
    rounds_title: "一轮又一轮",
    rounds_note: "模拟访客喜欢一切带有某个词的内容；每五轮换一位口味相同的新访客。",
    taste: "访客喜欢",
    count: "轮数（1 到 200）",
    play: "开始",
    stop: "停止",
    clear: "清空图表",
    playing: "第 {round} 轮，共 {count} 轮。",
    played: "已进行 {count} 轮。前十轮平均奖励 {first}，后十轮 {last}。",
    stopped: "在 {count} 轮之后停止。",
    taste_missing: "请说明访客喜欢什么：标题中的一个词，或属性，例如 Comedy。",
    count_wrong: "应为 1 到 200 轮；请在此范围内选择。",
    reward_title: "每轮奖励",
    reward_note: "列表中每项最佳事件的价值之和；曲线为最近十轮的平均。",
    reward_label: "每轮奖励，共 {count} 轮：前十轮平均 {first}，后十轮平均 {last}。",
    chance_title: "交给偶然",
    chance_note: "列表中“1 − 概率”的平均；曲线为最近十轮的平均。",
    chance_label: "交给偶然的份额，共 {count} 轮：前十轮平均 {first}，后十轮平均 {last}。",
    versions_label: "模型版本在第 {rounds} 轮改变。",
    chart_wait: "还没有任何一轮。",
    table: "以表格显示",
    round: "轮",
    mean: "十轮平均",
    reward: "奖励",
    chance: "偶然",
    version: "版本",
    version_mark: "v{version}",
    facts: "版本 {version} · 每次请求 {candidates} 个候选 · 至少 {floor} 均匀探索",
    facts_bare: "版本 {version} · 每次请求 {candidates} 个候选",
    documentation: "服务器接口",
    trouble_0: "无法连接服务器。它在运行吗？",
    trouble_400: "服务器读不懂这个请求。",
    trouble_401: "此服务器需要密钥。请填写“本服务器的密钥”后再试。",
    trouble_404: "服务器不知道所问的内容。",
    trouble_413: "一次发送的内容太多。",
    trouble_422: "服务器不接受这个请求。",
    trouble_500: "服务器处理失败。",
    trouble_503: "服务器尚未就绪。请稍后再试，什么都不会丢失。",
    trouble_504: "服务器用时过长。请稍后再试。",
    no_user: "请说明您是谁：任何名字都可以，或者选择“新的访客”。",
  },
};

// What the model hears, where its label is not already a word of the language.
const HEARD_ZH = {
  browse: "浏览", find: "查找", similar: "类似", play: "播放", rate: "评分", complain: "抱怨", ask: "询问", thanks: "致谢",
  buy: "购买", again: "再次购买", compare: "比较", price: "价格", neutral: "中性", joy: "喜悦", love: "喜爱",
  surprise: "惊讶", anger: "愤怒", sadness: "悲伤", fear: "恐惧", disgust: "厌恶", positive: "正面", negative: "负面",
};

const TAGS = { en: "en", zh: "zh-Hans" };
let language = "en";

/** The language chosen: "en" or "zh". */
export const chosen = () => language;

/** Whether the page speaks a language. */
export const speaks = (name) => Object.hasOwn(WORDS, name);

/** A string in the chosen language, its `{holes}` filled. */
export function say(name, holes = {}) {
  return WORDS[language][name].replace(/\{(\w+)\}/g, (_, hole) => holes[hole]);
}

/** The sentence for a status of HTTP. */
export function sayTrouble(status) {
  return say(Object.hasOwn(WORDS.en, `trouble_${status}`) ? `trouble_${status}` : "trouble_500");
}

/** A label of the model in the chosen language. */
export const sayHeard = (label) => (language === "zh" && Object.hasOwn(HEARD_ZH, label) ? HEARD_ZH[label] : label);

/** 0.1234 -> 12.3 % */
export const percent = (share) =>
  new Intl.NumberFormat(TAGS[language], { style: "percent", maximumSignificantDigits: 3 }).format(share);

/** A number with at most two digits after the point. */
export const number = (value) => new Intl.NumberFormat(TAGS[language], { maximumFractionDigits: 2 }).format(value);

/** The `lang` of a text from the data: titles are in one language mostly, but not all. */
export const languageOf = (text, mostly) => (/\p{Script=Han}/u.test(text) ? "zh-Hans" : mostly === "zh" ? "en" : mostly);

/** Says everything that stands in the page's HTML in a language. */
export function speak(name) {
  language = name;
  document.documentElement.lang = TAGS[name];
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
  }
  for (const element of document.querySelectorAll("[data-placeholder]")) {
    element.placeholder = say(element.dataset.placeholder);
  }
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === name));
  }
}
