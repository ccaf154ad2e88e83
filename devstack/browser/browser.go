// Package browser drives a headless Chromium, for tests of what people see in theirs. For tests alone; those that use it
// need Chromium on the machine, so they live in devstack/browsertest, which `make test-browser` runs.
package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// What a tab shows is that wide and high, in pixels of CSS; a screenshot has scale times as many.
const (
	width  = 1600
	height = 800
	scale  = 0.875
)

// patience bounds each single action: the machine may be small and busy.
const patience = 90 * time.Second

// Browser is a Chromium with a profile of its own, which is gone when the test ends.
type Browser struct {
	t   testing.TB
	ctx context.Context
}

// Tab is one page of a Browser. Its actions are for one goroutine at a time; what goes wrong fails the test.
type Tab struct {
	t   testing.TB
	ctx context.Context
}

// New starts a Chromium that talks to nobody but whom a page names.
func New(t testing.TB) *Browser {
	t.Helper()
	path, err := find()
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.Flag("no-sandbox", true), // it wants privileges that containers do not give
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("lang", "en-US"),
		chromedp.Env("TZ=UTC"),
	)
	// Not the context of the test: that one is cancelled before the clean-up, and the browser would be killed while tabs close.
	parent, stop := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	ctx, closeBrowser := chromedp.NewContext(parent)
	t.Cleanup(func() { closeBrowser(); stop() })
	start := make(chan error, 1) // one result, read below unless it comes too late
	go func() { start <- chromedp.Do(ctx) }()
	select {
	case err := <-start:
		if err != nil {
			t.Fatalf("start %s: %v", path, err)
		}
	case <-time.After(patience):
		t.Fatalf("%s does not start within %s", path, patience)
	}
	return &Browser{t: t, ctx: ctx}
}

func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium on the PATH; on Debian: apt-get install --no-install-recommends chromium fonts-dejavu-core")
}

// Tab opens an empty tab, closed again with the test that t belongs to. Cookies are those of the browser.
func (b *Browser) Tab(t testing.TB) *Tab {
	t.Helper()
	ctx, closeTab := chromedp.NewContext(b.ctx)
	t.Cleanup(closeTab)
	tab := &Tab{t: t, ctx: ctx}
	// The first action opens the tab and must not have a deadline: the tab would end with it.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale))); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	return tab
}

// In is the same tab for a subtest, whose failures are its own.
func (t *Tab) In(tb testing.TB) *Tab { return &Tab{t: tb, ctx: t.ctx} }

// Open goes to a page and waits until it is loaded.
func (t *Tab) Open(url string) {
	t.t.Helper()
	if err := t.do(chromedp.Navigate(url)); err != nil {
		t.t.Fatalf("open %s: %v", url, err)
	}
}

// SetCookie sets a cookie that pages under the URL send, and that no script can read.
func (t *Tab) SetCookie(url, name, value string) {
	t.t.Helper()
	if err := t.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		httpOnly := true
		_, err := cdp.Call(ctx, target, network.SetCookie, network.SetCookieParams{
			Name: name, Value: value, URL: url, HTTPOnly: &httpOnly,
		})
		return err
	})); err != nil {
		t.t.Fatalf("set the cookie %s: %v", name, err)
	}
}

// text is an expression for what the page shows, with the frames in it that it may read.
const text = `(function text(page) {
	const frames = [...page.querySelectorAll("iframe")].map(f => f.contentDocument).filter(d => d && d.body);
	return [page.body.innerText, ...frames.map(text)].join("\n");
})(document)`

// Text is what the page shows, what its frames show after it.
func (t *Tab) Text() string {
	t.t.Helper()
	var shown string
	t.Eval(text, &shown)
	return shown
}

// Eval evaluates a JavaScript expression, and waits for it when it is a promise. What comes of it goes into out, as with
// json.Unmarshal; a nil out takes nothing.
func (t *Tab) Eval(expression string, out any) {
	t.t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	got, err := chromedp.Run(ctx, chromedp.Evaluate[*json.RawMessage](expression, chromedp.EvalAwaitPromise))
	if err == nil && out != nil {
		if got == nil {
			err = errors.New("it is undefined")
		} else {
			err = json.Unmarshal(*got, out)
		}
	}
	if err != nil {
		t.t.Fatalf("evaluate %s: %v", expression, err)
	}
}

// Await waits until a JavaScript expression, which may be a promise, is true; if it never is, the test fails with what
// the page shows.
func (t *Tab) Await(what, expression string) {
	t.t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		// A page that is just being replaced by another has no answer.
		got, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Promise.resolve("+expression+").then(Boolean)", chromedp.EvalAwaitPromise))
		if err == nil && got {
			return
		}
		select {
		case <-ctx.Done():
			t.t.Fatalf("waited %s in vain until %s (%s; last error: %v); the page shows:\n%s", patience, what, expression, err, t.Text())
		case <-tick.C:
		}
	}
}

// AwaitText waits until the page shows all these texts, whatever white space is between their words.
func (t *Tab) AwaitText(texts ...string) {
	t.t.Helper()
	for _, wanted := range texts {
		words, err := json.Marshal(strings.Join(strings.Fields(wanted), " "))
		if err != nil {
			t.t.Fatal(err)
		}
		t.Await("the page shows "+string(words), text+`.replace(/\s+/g, " ").includes(`+string(words)+`)`)
	}
}

// Click clicks at the last element that a CSS selector finds, that can be seen and used, and whose text begins like this,
// once there is one. An empty text is any.
func (t *Tab) Click(selector, begins string) {
	t.t.Helper()
	element := t.find(selector, begins)
	t.Eval(element+".click()", nil)
}

// Type types a text into the last element that a CSS selector finds and that can be seen, in the place of what it says.
func (t *Tab) Type(selector, value string) {
	t.t.Helper()
	t.Eval(t.find(selector, "")+`.focus(), document.execCommand("selectAll"), true`, nil)
	if err := t.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, input.InsertText, input.InsertTextParams{Text: value})
		return err
	})); err != nil {
		t.t.Fatalf("type into %s: %v", selector, err)
	}
}

// find waits for an element and returns an expression for it.
func (t *Tab) find(selector, begins string) string {
	t.t.Helper()
	text, err := json.Marshal(begins)
	if err != nil {
		t.t.Fatal(err)
	}
	element := fmt.Sprintf(`[...document.querySelectorAll(%q)].findLast(e => e.checkVisibility() && !e.disabled && e.innerText.trim().startsWith(%s))`,
		selector, text)
	t.Await("there is "+selector+" "+begins, element+" !== undefined")
	return element
}

// Screenshot is a PNG of what the window shows.
func (t *Tab) Screenshot() []byte {
	t.t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.t.Fatalf("take a screenshot: %v", err)
	}
	return png
}

func (t *Tab) do(action chromedp.Action[chromedp.Void]) error {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, action); err != nil {
		return fmt.Errorf("%w (within %s)", err, patience)
	}
	return nil
}
