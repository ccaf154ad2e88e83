// Package config is the one place that knows the environment variables of vidflow: their names, defaults, meanings, which
// command needs which, and how they are read.
//
// Variables is the declaration from which everything else is derived: the flags and --help, the table in README.md,
// .env.example, and the check of docker-compose.yml. Load reads them into a Config and reports whatever is missing or
// wrong in one error. The package opens no connection, and it imports none of vidflow's other packages: the wiring in
// cmd/vidflow hands its values on.
package config
