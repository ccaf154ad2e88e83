// Package grafana is the dashboards of deploy/grafana as code: one of the whole pipeline and one of each process. Its test
// compares them with the files there, and `make generate` writes those.
package grafana
