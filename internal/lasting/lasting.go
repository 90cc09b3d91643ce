// Package lasting decides when to log a condition that lasts: when it begins, each minute while it lasts, and when it
// ends. The caller writes the lines.
package lasting

import "time"

// Every is the time between reminders.
const Every = time.Minute

// A Moment says what to log about a condition.
type Moment uint8

// The moments.
const (
	Quiet  Moment = iota // nothing now
	Begins               // it holds
	Lasts                // it still holds, a minute after the line before
	Ends                 // it no longer holds, and its beginning was logged
)

// A Condition holds or does not; the zero value does not. It is used by one goroutine at a time.
type Condition struct {
	Grace time.Duration // how long it must hold before it is logged; one that ends sooner is never logged

	since time.Time // zero: it does not hold
	told  time.Time // the last line; zero: there was none
}

// Observe records whether the condition holds now. It gives what to log, and how long the condition has lasted, in whole
// seconds if it is more than one.
func (c *Condition) Observe(holds bool, now time.Time) (Moment, time.Duration) {
	if !holds {
		return c.end(now)
	}
	if c.since.IsZero() {
		c.since = now
	}
	lasted := now.Sub(c.since)
	switch {
	case lasted < c.Grace, !c.told.IsZero() && now.Sub(c.told) < Every:
		return Quiet, round(lasted)
	case c.told.IsZero():
		c.told = now
		return Begins, round(lasted)
	}
	c.told = now
	return Lasts, round(lasted)
}

// Told reports whether the beginning was logged, and the end was not.
func (c *Condition) Told() bool { return !c.told.IsZero() }

func (c *Condition) end(now time.Time) (Moment, time.Duration) {
	lasted, told := now.Sub(c.since), c.Told()
	c.since, c.told = time.Time{}, time.Time{}
	if !told {
		return Quiet, 0
	}
	return Ends, round(lasted)
}

// round leaves out digits that nobody reads.
func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}
