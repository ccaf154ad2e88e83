// Package changing reads docs/changing-the-workflow.md: its examples are patches, which are applied to the code as it is
// and tried, so that the page says what is so.
package changing
