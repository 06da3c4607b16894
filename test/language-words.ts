/**
 * The word list of docs/style.md, and the search that applies it. A pattern is narrow enough not to match ordinary
 * English; test/language.test.ts proves that each matches its own example.
 */

/** One entry of the word list. */
export interface Word {
  /** An example of the wording to avoid. */
  readonly not: string;
  /** The wording to use. */
  readonly write: string;
  /** Matches the wording in any line of a file; has the flag `g`. */
  readonly pattern: RegExp;
  /** Paths where the wording is correct. */
  readonly except?: RegExp;
}

/** One place where a file uses a wording to avoid. */
export interface Finding {
  /** Line number, from 1. */
  readonly line: number;
  /** The text as the file has it, on one line. */
  readonly found: string;
  /** The wording to use. */
  readonly write: string;
}

/** An entry for English text. Blanks in `pattern` match any white space, so that a phrase may wrap; case is ignored. */
const phrase = (not: string, write: string, pattern = not): Word => ({
  not,
  write,
  pattern: new RegExp(`\\b(?:${pattern.replaceAll(' ', '\\s+')})(?!\\w)`, 'gi'),
});

/** An entry for a name in code, in exactly this case. */
const name = (not: string, write: string, pattern: RegExp, except?: RegExp): Word => ({
  not,
  write,
  pattern,
  ...(except && { except }),
});

const BE = '(?:am|is|are|was|were|be|been|being|gets?)';
const TAKE = '(?:take|takes|took|taken|taking)';
/** Where the protocol is implemented, tested and described, and where the commands of the older client are. */
const WIRE =
  /^core\/(?:proto|src\/wire)\/|^core\/src\/(?:client\/setup\.ts$|control\/door\/)|(?:^|\/)test\/|^cli\/src\/commands\/s2uc\/|^docs\/reference\/protocol\.md$/;

/** Names that the code no longer uses. */
const RETIRED: readonly Word[] = [
  name('`EmbeddedDataServer`', '`LocalGateway`', /\bEmbeddedDataServers?\b/g),
  name('`RemoteDataServer`', '`RemoteGateway`', /\bRemoteDataServers?\b/g),
  name('`DataServer`', '`Gateway`', /\bDataServers?\b/g, WIRE),
  name('`ReserveRequest`', '`StreamSpec`', /\b(?:ReserveRequest|StreamWish|StreamRequest)\b/g, WIRE),
  name('`UpOptions`', '`StreamPlan`', /\bUpOptions\b/g),
  name('`legacyRate`', '`bitsPerSecond`', /\blegacyRate\b/g, /^core\/src\/store\/migrations\.ts$/),
  name('`num_conn`', '`connections`', /\bnum(?:_c|C)onn\b/g, WIRE),
];

/** Phrases that sound translated, or that an operator has to read twice. */
const PHRASES: readonly Word[] = [
  phrase('whoever', 'anyone who; callers that'),
  phrase('whom', 'name the actor'),
  phrase('who may', 'callers that may; allowed to'),
  phrase('everybody who', 'all callers that', '(?:any|every|some)body who'),
  {
    not: 'Who has no certificate is rejected.',
    write: 'Callers without a certificate are rejected.',
    pattern: /(?:^|[.;:¶] +)Who\s[^.?!:¶]*[.:](?=[ ¶]|$)/g,
  },
  phrase('who it is', 'its identity', 'who (?:it|one|he|somebody|anybody) is'),
  phrase('what nobody knows', 'unknown; name the thing', 'what nobody'),
  phrase('what is stored', 'name it: the stored records', 'what (?:is|was) (?:stored|written|kept|recorded|left)'),
  phrase('what there is', 'the available …', 'what there (?:is|was)'),
  phrase('what became of it', 'the result', 'what (?:became|becomes|has become|had become) of'),
  phrase('before it goes wrong', 'before it fails', 'before it (?:goes|went) wrong'),
  phrase('takes charge of', 'recovers; adopts', `(?:${TAKE}|has|have|had) charge`),
  phrase('takes over', 'recovers; adopts', `${TAKE} over(?! \\d)`),
  phrase('takes you for', 'your identity at', `${TAKE} (?:it|them|you) for(?! \\d)`),
  phrase('is told of', 'is notified of; receives', 'told of'),
  phrase('hears that', 'receives; is told', 'hears? (?:of|that|nothing|which|whether)'),
  phrase('is asked for', 'is requested', `${BE} (?:not )?asked for`),
  phrase('is made again', 'is retried', 'made again'),
  phrase(
    'is started again',
    'is restarted',
    '(?:started|starts|starting|start (?:it|them)) (?:(?:it|them|the \\w+) )?again',
  ),
  phrase('once more', 'again'),
  phrase('anew', 'again'),
  phrase('by itself', 'automatically; unexpectedly', 'by (?:itself|themselves)'),
  phrase('of its own accord', 'automatically', 'of (?:its|their) own accord'),
  phrase('of before', 'previous; earlier', 'of before'),
  phrase('of late', 'recently', '(?<!as )of late(?! [A-Z])'),
  phrase('meanwhile', 'while … (say what happens)'),
  phrase('at once', 'immediately; at the same time'),
  phrase('for ever', 'forever; without limit'),
  phrase('for good', 'permanently', 'for good(?! (?:reason|measure))'),
  phrase('not any more', 'no longer', '(?:not|never|nothing) any more|any more(?=\\s*[.,;:)])'),
  phrase(
    'lives on',
    'continues; keeps running',
    '(?:live|lives|lived)\\s+on(?=\\s*(?:[.,;:)¶]|$)|\\s+(?:and|until|while|when|after))',
  ),
  phrase('streams go on', 'streams continue', 'streams? go(?:es)? on'),
  phrase('as long as it likes', 'without limit', 'as (?:long|often) as (?:it|he|they) likes?'),
  phrase(
    'for the stream alone',
    'only for the stream',
    '(?:of|for) (?:a|an|the|this|that|each|one|its|their) \\w+ alone',
  ),
  phrase('that one alone', 'only that one', 'one alone'),
  phrase('is cut', 'is rejected; is closed', `${BE} (?:not )?cut|cuts? (?:the |its |their |open |all )*connections?`),
  phrase('comes into force', 'takes effect', '(?:come|comes|came|put|puts) (?:\\w+ ){0,3}(?:in|into) force'),
  phrase('lets go of', 'releases', 'let(?:s|ting)? go of'),
  phrase('cannot be had', 'is not available', '(?:cannot|can|to) be had'),
  phrase('cannot be told', 'is unknown', 'cannot be told(?! apart)'),
  phrase('for want of room', 'because no gateway has capacity', 'for want of'),
  phrase(
    'a runtime that is away',
    'an unreachable runtime',
    `(?:runtime|issuer|gateway|server|daemon|engine)s? (?:that )?${BE} away`,
  ),
  phrase('without a word', 'silently'),
  phrase('says nothing of', 'does not report', 'says? nothing of'),
  phrase('blotted out', 'removed', 'blot(?:s|ted)? out'),
  phrase('mended', 'fixed', 'mend(?:s|ed|ing)?'),
];

/** The whole list, in the order of docs/style.md. */
export const WORDS: readonly Word[] = [...RETIRED, ...PHRASES];

/** A line break with the indentation and the comment marker of the line that follows. */
const BREAK = /\n[ \t]*(?:\/\/+|\*+(?!\*)|#+|>)?[ \t]*/g;

/** The text as one line of the same length: comment markers are blank, and `¶` stands for the end of a paragraph. */
function flatten(text: string): string {
  return text.replace(BREAK, (all, at: number) => {
    const ends = /[\n]/.test(text.charAt(at + all.length)) || at + all.length === text.length;
    return (ends ? '¶' : ' ') + ' '.repeat(all.length - 1);
  });
}

/** Every use of a wording to avoid in the text of the file at `path` (relative to the repository), in order of lines. */
export function findWords(text: string, path = ''): readonly Finding[] {
  const flat = flatten(text);
  return WORDS.filter(({ except }) => !except?.test(path))
    .flatMap(({ pattern, write }) =>
      [...flat.matchAll(pattern)].map(({ 0: found, index }) => {
        const start = index + found.search(/[^\s.;:¶]/);
        return { line: text.slice(0, start).split('\n').length, found: found.replace(/\s+/g, ' ').trim(), write };
      }),
    )
    .sort((a, b) => a.line - b.line);
}
