// Package discovery finds the first members of a cluster, for processes that
// were not told who the others are.
//
//	SRV   asks DNS: one record, one member (bootstrap.md section 6)
//	Join  registers under a token of a discovery service, and waits until as many have registered as its size says
//
// Both are used at the first start only, and turn what they find into a list
// that all members see alike. One thing is above all others: nobody begins with
// a part of that list, since a part of it can be a cluster of its own. So
// whatever may be better in a while is waited for, and whatever is wrong for
// good is an error that says what to do.
//
// What happens with the list is no business of this package, and neither is
// the service that keeps tokens (package service).
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

// Log takes lines for people: what was found, and what is waited for.
type Log interface {
	Infof(format string, args ...any)
	Warnf(format string, args ...any)
}

// unsureError is an answer that may be another one in a while.
type unsureError struct{ err error }

func (e *unsureError) Error() string { return e.err.Error() }

func isUnsure(err error) bool {
	var unsure *unsureError
	return errors.As(err, &unsure)
}

// Waiting is told what is being waited for, whenever something is, and each
// minute of it at least.
type Waiting func(status string)

func (w Waiting) tell(status string) {
	if w != nil {
		w(status)
	}
}

// Pause waits for a time, or until ctx ends, whose error it then returns.
type Pause func(ctx context.Context, d time.Duration) error

// sleep is the Pause of the real world.
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

// The time between tries is doubled from the first to the longest (D14).
const (
	firstPause   = 2 * time.Second
	longestPause = 10 * time.Second
)

// backoff counts tries that failed in a row, and waits longer after each.
type backoff struct {
	pause   Pause // nil: the real clock
	waiting Waiting
	tries   int

	slept  time.Duration
	unsure lasting.Condition
	why    string // it is unsure, without numbers, which change from try to try
}

// next is how long to wait now: up to a quarter less than the full time, so
// that processes that failed together do not come back together.
func (b *backoff) next() time.Duration {
	full := longestPause
	if b.tries < 3 {
		full = firstPause << b.tries
		b.tries++
	}
	full = min(full, longestPause)
	return full - rand.N(full/4)
}

// now is a clock that only pauses move on.
func (b *backoff) now() time.Time { return time.Unix(0, 0).Add(b.slept) }

// reset is for when a try succeeded.
func (b *backoff) reset(log Log) {
	b.tries = 0
	if moment, lasted := b.unsure.Observe(false, b.now()); moment == lasting.Ends {
		log.Infof("discovery: it goes on, after waiting for %v", lasted)
	}
}

// tell logs why there is another try: at first, when the reason is another one, and each minute.
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

// wait waits before the next try, having said why there is one.
func (b *backoff) wait(ctx context.Context, log Log, why error) error {
	if ctx.Err() != nil {
		return ctx.Err() // which is why
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
