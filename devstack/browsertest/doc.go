// Package browsertest holds the tests that look at vidflow through a real browser, one file for each subject. They need
// Chromium beside what every test needs, so `make test` leaves them out and `make test-browser` runs them.
package browsertest
