// Which patterns a browser can try. Python's expressions take time in proportion to the text; a
// browser's may take forever, such as (a+)+b. What is not tried here is checked by the server.

const FEW = 16; // characters on which even a bad pattern is quick
const MANY = 5000; // on which one is quick that tries each pair of places

interface Group {
  /** What it begins with, if that is one character. */
  first: string | undefined;
  /** What else is in it. */
  rest: string[];
  isBranching: boolean;
}

/** Return whether a browser can try a pattern on a text in a moment. */
export function isQuick(pattern: string, text: string): boolean {
  return text.length <= FEW || (text.length <= MANY && !mayTakeForever(pattern));
}

/** Return whether a group is repeated that can match one text in several ways. */
function mayTakeForever(pattern: string): boolean {
  const open: Group[] = [];
  let group: Group = { first: undefined, rest: [], isBranching: false };
  for (const [token] of pattern.matchAll(/\\.|\[(?:\\.|[^\]\\])*\]|\((?:\?(?:[:=!]|P?<[^>]*>|<[=!]))?|\)(?:[*+]|\{\d+,?\d*\})?|[*+]|\{\d*,\d*\}|[^]/gu)) {
    if (token.startsWith("(")) {
      open.push(group);
      group = { first: undefined, rest: [], isBranching: false };
    } else if (token.startsWith(")")) {
      const inner = group;
      if (token.length > 1 && isAmbiguous(inner)) return true;
      group = open.pop() ?? group;
      group.isBranching ||= inner.isBranching || token.length > 1;
      group.rest.push(...inner.rest, ...(inner.first ? [inner.first] : []));
    } else if (/^[|*+?]|^\{./.test(token)) {
      if (!group.rest.length && group.first) group.rest.push(group.first); // which is not always there once
      if (token === "|" || group.rest[0] === group.first) group.first = undefined;
      group.isBranching ||= token !== "?";
    } else if (!group.first && !group.rest.length && !group.isBranching && !/^[[.^$]|^\\\w/.test(token)) group.first = token;
    else group.rest.push(token);
  }
  return false;
}

/** One that begins with a character that is nowhere else in it has one way only, such as (-[a-z]+)*. */
function isAmbiguous({ first, rest, isBranching }: Group): boolean {
  if (!isBranching) return false;
  const letter = first?.replace(/^\\/, "");
  try {
    return !letter || rest.some((one) => !/^[$^]/.test(one) && new RegExp(one, "u").test(letter));
  } catch {
    return true;
  }
}
