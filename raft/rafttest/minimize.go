package rafttest

import (
	"slices"
	"strings"
	"time"
)

// Minimize leaves out events of a schedule while it still breaks the same promise, for a limited time: first all of a kind, then
// smaller and smaller pieces (delta debugging: Zeller and Hildebrandt, 2002). The result breaks the promise, too.
func Minimize(s Schedule, broken *Violation, limit time.Duration) Schedule {
	m := &minimizer{schedule: s, kind: kind(broken), end: time.Now().Add(limit)}
	if v := Run(s, nil); v != nil && !s.Recovers && v.Events < len(s.Events) {
		m.schedule.Events = s.Events[:v.Events]
	}
	for m.founded < len(s.Events) && (s.Events[m.founded].Op == Begin || s.Events[m.founded].Op == Start) {
		m.founded++ // the first members stay
	}
	m.withoutKinds()
	for piece := len(m.schedule.Events) / 2; piece > 0 && m.inTime(); {
		if shorter := m.withoutPieces(piece); !shorter || piece > 1 {
			piece /= 2
		}
	}
	return m.schedule
}

// minimizer minimizes one schedule, which always breaks the promise.
type minimizer struct {
	schedule Schedule
	kind     string
	founded  int // events that stay
	end      time.Time
}

func (m *minimizer) inTime() bool { return time.Now().Before(m.end) }

// try takes fewer events if they break the promise, too.
func (m *minimizer) try(events []Event) bool {
	if len(events) == len(m.schedule.Events) {
		return false
	}
	s := m.schedule
	s.Events = events
	v := Run(s, nil)
	if v == nil || kind(v) != m.kind {
		return false
	}
	if !s.Recovers && v.Events < len(events) {
		s.Events = events[:v.Events]
	}
	m.schedule = s
	return true
}

// withoutKinds leaves out whole kinds of events, and then kinds of one member.
func (m *minimizer) withoutKinds() {
	for op := range arguments {
		without := func(drop func(Event) bool) bool {
			kept := slices.Clone(m.schedule.Events[:m.founded])
			for _, e := range m.schedule.Events[m.founded:] {
				if !drop(e) {
					kept = append(kept, e)
				}
			}
			return m.try(kept)
		}
		if !m.inTime() || without(func(e Event) bool { return e.Op == op }) {
			continue
		}
		for id := range uint64(idsMax) {
			without(func(e Event) bool { return e.Op == op && e.Args[0] == id+1 })
		}
	}
}

// withoutPieces leaves out pieces of a length, and tells whether it could.
func (m *minimizer) withoutPieces(length int) (shorter bool) {
	for at := m.founded; at < len(m.schedule.Events) && m.inTime(); {
		events := m.schedule.Events
		if m.try(append(slices.Clone(events[:at]), events[min(at+length, len(events)):]...)) {
			shorter = true
		} else {
			at += length
		}
	}
	return shorter
}

// kind is a violation's text without its numbers, so that it does not depend on members and indexes.
func kind(v *Violation) string {
	text, _, _ := strings.Cut(v.Text, "\n")
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}

// Scenario is the text of a file in testdata for a schedule that breaks a promise.
func Scenario(s Schedule, v *Violation) string {
	var b strings.Builder
	b.WriteString("# " + kind(v) + "\n\nschedule " + s.Options.String())
	if s.Recovers {
		b.WriteString(" recovers")
	}
	for _, e := range s.Events {
		b.WriteString("\n" + e.String())
	}
	b.WriteString("\n----\n" + tell(s))
	return b.String()
}

// tell runs a schedule, and gives its notable events.
func tell(s Schedule) string {
	var b strings.Builder
	if v := Run(s, func(line string) { b.WriteString(line + "\n") }); v != nil {
		b.WriteString("VIOLATION: " + v.Text + "\n")
	} else {
		b.WriteString("every promise was kept\n")
	}
	return b.String()
}
