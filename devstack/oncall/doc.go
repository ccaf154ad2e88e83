// Package oncall reads what whoever is on call is given, the alert rules, the dashboards and the runbook, for the tests
// that hold these against each other, against the metrics of running processes, and against a real Prometheus. Those that
// need Prometheus run in `make test-alerts`.
package oncall
