// Package storage stands in for Supabase Storage in development and tests: it speaks the part of its protocol that has to
// do with buckets and objects, its keys and its strange errors included, and keeps files on disk. Through a second
// handler, Control, tests make uploads fail in every way that the real one was seen to, and read what was uploaded.
package storage
