package starter

import (
	"embed"
	"net/http"
)

// The documentation page reads openapi.json in the browser. It is our own, small, and complete without the internet.
//
//go:embed docs
var docsFiles embed.FS

const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func serveDocs(name, contentType string) http.HandlerFunc {
	page, err := docsFiles.ReadFile("docs/" + name)
	return func(w http.ResponseWriter, r *http.Request) {
		if err != nil {
			internalError(err).write(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", docsPolicy)
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(page)
	}
}
