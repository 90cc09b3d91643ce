package discovery

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// script runs one function at each pause; after the last one the pauses end the
// wait with an error. It records their lengths.
type script struct {
	steps []func()
	took  []time.Duration
}

func (s *script) pause(_ context.Context, d time.Duration) error {
	s.took = append(s.took, d)
	if len(s.steps) < len(s.took) {
		return errPatience
	}
	s.steps[len(s.took)-1]()
	return nil
}

// errPatience ends a wait that would not end.
var errPatience = fmt.Errorf("the test has waited long enough")

// lines keeps what was logged.
type lines struct {
	mu   sync.Mutex // guards text
	text []string
}

func (l *lines) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, fmt.Sprintf(format, args...))
}

func (l *lines) Infof(format string, args ...any) { l.add(format, args...) }
func (l *lines) Warnf(format string, args ...any) { l.add(format, args...) }

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.text, "\n")
}
