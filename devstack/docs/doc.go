// Package docs reads the project's documents as their readers do: it runs the commands of a page, in order and in one
// shell, and finds in all pages what cannot be right: commands, flags, variables, make targets, files and links that do not
// exist. docs/testing.md says how a page marks what cannot be run here.
//
// It may import nothing that starts servers: tests hand it the environment of those that run.
package docs
