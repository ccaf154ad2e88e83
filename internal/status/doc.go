// Package status finds out how the pipeline as a whole is doing, and where one video is: it asks the database, Temporal,
// Kafka and the storage side by side, each for a few seconds at most, and says of each what it could not learn. What was
// found out is a plain struct; judging it and writing it out for people are pure functions of that.
//
// It changes nothing anywhere.
package status
