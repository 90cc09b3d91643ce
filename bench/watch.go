package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// runWatch opens streams on one key, writes that key as fast as one connection
// can, and counts the events that arrive, until all of the last write's have.
func runWatch(ctx context.Context, t target, o options) (result, error) {
	const path = "/v2/keys/watched?wait=true&stream=true"
	before := t.residentBytes()
	streams, err := openStreams(ctx, t, o.watchers, path)
	if err != nil {
		return result{}, err
	}
	defer streams.close()
	memory := float64(t.residentBytes()-before) / float64(o.watchers)
	begin := time.Now()
	request := putRequest("/watched", o.valueBytes, "")
	r, err := closedLoop(ctx, t, o, 1, func(int, int) []byte { return request })
	if err != nil {
		return result{}, err
	}
	want := r.Requests * uint64(o.watchers)
	got, err := streams.wait(ctx, want)
	r.Extra["events"] = float64(got)
	r.Extra["events_per_second"] = float64(got) / time.Since(begin).Seconds()
	r.Extra["bytes_per_watcher"] = memory
	r.Extra["lost"] = float64(want - got)
	return r, err
}

// streams are watchers that count their events.
type streams struct {
	events      atomic.Uint64
	connections []*connection
	readers     sync.WaitGroup
}

func openStreams(ctx context.Context, t target, n int, path string) (*streams, error) {
	s := &streams{}
	for range n {
		if ctx.Err() != nil {
			return nil, errors.Join(ctx.Err(), s.close())
		}
		if err := s.open(t, path); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *streams) open(t target, path string) error {
	c, err := dial(t.endpoint)
	if err != nil {
		return err
	}
	s.connections = append(s.connections, c)
	if _, err := c.Write(getRequest(path)); err != nil {
		return err
	}
	h, err := readHead(c.r)
	if err != nil {
		return err
	}
	if h.status != 200 || !h.chunked {
		return fmt.Errorf("a stream was answered with status %d", h.status)
	}
	s.readers.Go(func() { s.read(c.r) })
	return nil
}

// read counts the lines of a stream until it ends.
func (s *streams) read(r *bufio.Reader) {
	lines := lineCounter{&s.events}
	for {
		if n, err := readChunk(r, lines); err != nil || n == 0 {
			return
		}
	}
}

type lineCounter struct{ n *atomic.Uint64 }

func (l lineCounter) Write(p []byte) (int, error) {
	l.n.Add(uint64(bytes.Count(p, []byte("\n"))))
	return len(p), nil
}

// wait waits until so many events have come, or no more come for 5 s: a server
// may drop slow streams, which shows in the figures.
func (s *streams) wait(ctx context.Context, want uint64) (uint64, error) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last, since := s.events.Load(), time.Now()
	for {
		got := s.events.Load()
		switch {
		case got >= want:
			return got, nil
		case got != last:
			last, since = got, time.Now()
		case time.Since(since) > 5*time.Second:
			return got, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return got, ctx.Err()
		}
	}
}

func (s *streams) close() error {
	var errs []error
	for _, c := range s.connections {
		errs = append(errs, c.Close())
	}
	s.readers.Wait()
	return errors.Join(errs...)
}

// runExpiry writes keys with a ttl of one second, and measures how long after
// their deadline the expire event arrives.
func runExpiry(ctx context.Context, t target, o options) (result, error) {
	c, err := dial(t.endpoint)
	if err != nil {
		return result{}, err
	}
	defer c.Close()
	watch, err := dial(t.endpoint)
	if err != nil {
		return result{}, err
	}
	defer watch.Close()
	if _, err := watch.Write(getRequest("/v2/keys/mortal?wait=true&recursive=true&stream=true")); err != nil {
		return result{}, err
	}
	if _, err := readHead(watch.r); err != nil {
		return result{}, err
	}
	const keys = 50
	deadlines := make([]time.Time, keys)
	begin := time.Now()
	for n := range deadlines {
		if _, err := c.exchange(putRequest(fmt.Sprintf("/mortal/%d", n), o.valueBytes, "&ttl=1"), nil); err != nil {
			return result{}, err
		}
		deadlines[n] = time.Now().Add(time.Second)
		pause(ctx, 37*time.Millisecond)
	}
	return expiries(watch, deadlines, begin)
}

// pause spreads the deadlines over the server's period, if it has one.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func expiries(watch *connection, deadlines []time.Time, begin time.Time) (result, error) {
	var h histogram
	if err := watch.SetDeadline(time.Now().Add(ioTimeout)); err != nil {
		return result{}, err
	}
	lines := bufio.NewReader(&chunks{r: watch.r})
	for h.total < uint64(len(deadlines)) {
		line, err := lines.ReadString('\n')
		if err != nil {
			return result{}, err
		}
		var n int
		_, after, found := strings.Cut(line, `"action":"expire","node":{"key":"/mortal/`)
		if !found {
			continue
		}
		if _, err := fmt.Sscanf(after, "%d", &n); err != nil || n >= len(deadlines) {
			return result{}, fmt.Errorf("an unknown key expired: %q", line)
		}
		h.add(max(0, time.Since(deadlines[n])))
	}
	r := summary(&h, time.Since(begin))
	r.Extra["late_max_ms"] = r.Max
	return r, nil
}

// chunks reads the body of a chunked answer as it comes.
type chunks struct {
	r    *bufio.Reader
	left bytes.Buffer
}

func (c *chunks) Read(p []byte) (int, error) {
	for c.left.Len() == 0 {
		n, err := readChunk(c.r, &c.left)
		if err != nil {
			return 0, err
		}
		if n == 0 {
			return 0, io.EOF
		}
	}
	return c.left.Read(p)
}
