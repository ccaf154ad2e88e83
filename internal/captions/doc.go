// Package captions makes WebVTT of a transcript: it cuts the words into cues as people read them. It is pure: no I/O, no
// clock; the same transcript gives the same bytes on every machine.
//
// The rules are those that subtitlers work by, where they agree, see
// [BBC Subtitle Guidelines] and Netflix's Timed Text Style Guides ([general], [English], [Chinese], [Japanese]):
//
//   - A cue has at most two lines. A line has at most 42 columns, or 16 full-width characters in a transcript that is
//     mostly written in those.
//   - It begins with the first word and stays at least a second, at most seven, and as long as reading takes at 17 columns
//     a second, if what comes next lets it; a full-width character counts as two columns. Cues never overlap.
//   - It ends with a sentence if it can, else with a clause, else where the speaker pauses. After a pause of 0.7 s a new
//     one begins. A gap between two cues that is too short to notice is closed.
//   - Lines are of like length, broken after punctuation where that fits.
//   - What the service takes for a word stays whole, unless it is longer than a line, or longer than half a line and a line
//     may be broken in it. A grapheme cluster is never split.
//
// The file is as the [WebVTT] recommendation wants it, without settings of cues: the player places them.
//
// [BBC Subtitle Guidelines]: https://www.bbc.co.uk/accessibility/forproducts/guides/subtitles/
// [general]: https://partnerhelp.netflixstudios.com/hc/en-us/articles/215758617
// [English]: https://partnerhelp.netflixstudios.com/hc/en-us/articles/217350977
// [Chinese]: https://partnerhelp.netflixstudios.com/hc/en-us/articles/215986007
// [Japanese]: https://partnerhelp.netflixstudios.com/hc/en-us/articles/215767517
// [WebVTT]: https://www.w3.org/TR/webvtt1/
package captions
