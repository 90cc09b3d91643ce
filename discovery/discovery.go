// Package discovery finds the first members of a cluster, for processes that
// do not know them.
//
//	SRV   asks DNS: one record, one member (bootstrap.md section 6)
//	Join  registers under a token of a discovery service, and waits until as many have registered as its size says
//
// Both are used at the first start only, and give a list that is the same for
// all members. The main rule is that nobody starts with a part of that list,
// since a part of it could be a cluster of its own. So temporary errors are
// retried, and a permanent error tells what to do.
//
// The use of the list, and the service that keeps tokens (package service), are
// not part of this package.
package discovery

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"

	"canopy/internal/lasting"
)

// Log takes lines for operators: what was found, and what is waited for.
type Log interface {
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
}

// unsureError is an answer that may change.
type unsureError struct{ err error }

func (e *unsureError) Error() string { return e.err.Error() }

func isUnsure(err error) bool {
	var unsure *unsureError
	return errors.As(err, &unsure)
}

// Waiting is called with the reason of a wait when it begins, and at least once
// a minute.
type Waiting func(status string)

func (w Waiting) tell(status string) {
	if w != nil {
		w(status)
	}
}

// Pause waits for a time, or until ctx ends, and returns the error of ctx.
type Pause func(ctx context.Context, d time.Duration) error

// sleep is the Pause of the real clock.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The time between tries doubles from the first to the longest (D14).
const (
	firstPause   = 2 * time.Second
	longestPause = 10 * time.Second
)

// backoff counts consecutive failures, and waits longer after each.
type backoff struct {
	pause   Pause // nil: the real clock
	waiting Waiting
	tries   int

	slept  time.Duration
	unsure lasting.Condition
	why    string // unsureError without numbers, which differ from try to try
}

// next is the next wait: up to a quarter less than the full time, so that
// processes that failed together do not retry together.
func (b *backoff) next() time.Duration {
	full := longestPause
	if b.tries < 3 {
		full = firstPause << b.tries
		b.tries++
	}
	full = min(full, longestPause)
	return full - rand.N(full/4)
}

// now is a clock that only pauses advance.
func (b *backoff) now() time.Time { return time.Unix(0, 0).Add(b.slept) }

// reset is called after a success.
func (b *backoff) reset(log Log) {
	b.tries = 0
	if moment, lasted := b.unsure.Observe(false, b.now()); moment == lasting.Ends {
		log.Infof("discovery: continues after waiting for %v", lasted)
	}
}

// tell logs the reason of another try: at first, when it changes, and each minute.
func (b *backoff) tell(log Log, why error, next time.Duration) {
	text := strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, why.Error())
	if text != b.why {
		b.why, b.unsure = text, lasting.Condition{}
	}
	if moment, _ := b.unsure.Observe(true, b.now()); moment != lasting.Quiet {
		log.Warnf("discovery: %v, retrying in %v, and then each %v at most", why, next.Round(time.Second), longestPause)
	}
}

// wait logs the reason of another try, and waits before it.
func (b *backoff) wait(ctx context.Context, log Log, why error) error {
	if ctx.Err() != nil {
		return ctx.Err() // the reason
	}
	d := b.next()
	b.tell(log, why, d)
	b.slept += d
	b.waiting.tell(why.Error())
	if b.pause == nil {
		return sleep(ctx, d)
	}
	return b.pause(ctx, d)
}
