package login

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// places bound how many checks run at once. Suspects also need the one place that all of them share, and keep it for longer
// than a check takes: so they use a small part of a processor, however many they are.
type places struct {
	running  chan struct{} // a place each
	suspect  chan struct{} // the place of suspects
	waits    func(more int)
	waiting  atomic.Int64
	suspects atomic.Int64 // that wait
}

func newPlaces(n int, waits func(more int)) places {
	return places{waits: waits, running: make(chan struct{}, n), suspect: make(chan struct{}, 1)}
}

// suspectRest is how much longer than its check a suspect keeps the place of suspects: they take a fifth of one processor.
const suspectRest = 4

// enter waits for a place. leave gives it back.
func (p *places) enter(ctx context.Context, suspect bool) (leave func(), err error) {
	release := func() {}
	if suspect {
		if release, err = p.enterSuspect(ctx); err != nil {
			return nil, err
		}
	}
	p.waits(1)
	defer p.waits(-1)
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > waitingMax {
		release()
		return nil, ErrBusy
	}
	select {
	case p.running <- struct{}{}:
		return func() {
			<-p.running
			release()
		}, nil
	case <-ctx.Done():
		release()
		return nil, ctx.Err()
	}
}

func (p *places) enterSuspect(ctx context.Context) (release func(), err error) {
	p.waits(1)
	defer p.waits(-1)
	defer p.suspects.Add(-1)
	if p.suspects.Add(1) > suspectsMax {
		return nil, ErrBusy
	}
	select {
	case p.suspect <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	began := time.Now()
	return func() {
		time.AfterFunc(suspectRest*time.Since(began), func() { <-p.suspect })
	}, nil
}

// Who fails more often than this within forgetAfter is a suspect. Many people may share an address, and anybody can fail
// in the name of a user.
const (
	failuresMax    = 5
	forgetAfter    = time.Minute
	failuresKept   = 10_000 // names and addresses
	nameKeptMax    = 256    // bytes
	addressPrefix  = "from "
	userNamePrefix = "user "
)

// failures are the wrong passwords of late, by user and by address.
type failures struct {
	mu sync.Mutex // guards by
	by map[string]*failure
}

type failure struct {
	count int
	last  time.Time
}

// suspects tells whether a request is by one who has failed too often: its address, or its user.
func (f *failures) suspects(user, from string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, key := range keysOf(user, from) {
		if one := f.by[key]; one != nil && one.count >= failuresMax && time.Since(one.last) < forgetAfter {
			return true
		}
	}
	return false
}

func (f *failures) add(user, from string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil || len(f.by) >= failuresKept {
		f.by = map[string]*failure{} // they fail again
	}
	for _, key := range keysOf(user, from) {
		one := f.by[key]
		if one == nil || time.Since(one.last) >= forgetAfter {
			one = &failure{}
			f.by[key] = one
		}
		one.count++
		one.last = time.Now()
	}
}

func keysOf(user, from string) [2]string {
	return [2]string{userNamePrefix + user[:min(len(user), nameKeptMax)], addressPrefix + from}
}
