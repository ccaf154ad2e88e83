package activities_test

import (
	"sync"
	"time"

	"github.com/codeendelea/vidflow/activities"
	"github.com/codeendelea/vidflow/workflows"
)

// observed keeps what an observer is told.
type observed struct {
	mu        sync.Mutex
	missing   []workflows.Missing
	tries     []activities.Try
	captioned []time.Duration
}

func (o *observed) VideoMissing(why workflows.Missing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.missing = append(o.missing, why)
}

func (o *observed) ResultTried(try activities.Try) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tries = append(o.tries, try)
}

func (o *observed) Captioned(after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.captioned = append(o.captioned, after)
}
