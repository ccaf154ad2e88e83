package browsertest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/codeendelea/vidflow/devstack/browser"
)

// TestBrowser is what the other tests build on.
func TestBrowser(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if cookie, err := r.Cookie("name"); err == nil {
			who = cookie.Value
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<button onclick="setTimeout(() => { this.innerText = 'clicked\n once' }, 50)">Hello %s</button>
			<iframe srcdoc="in a frame"></iframe>`, who)
	}))
	t.Cleanup(page.Close)
	tab := browser.New(t).Tab(t)

	tab.Open(page.URL)
	tab.AwaitText("Hello nobody")
	tab.SetCookie(page.URL, "name", "Ada")
	tab.Open(page.URL)
	tab.AwaitText("Hello Ada", "in a frame")
	tab.Click("button", "Hello")
	tab.AwaitText("clicked once")
	var sum int
	if tab.Eval("Promise.resolve(1 + 2)", &sum); sum != 3 {
		t.Errorf("got %d", sum)
	}
	if png := tab.Screenshot(); http.DetectContentType(png) != "image/png" {
		t.Errorf("the screenshot is %s", http.DetectContentType(png))
	}
}
