package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"
)

// runWatch opens streams on one key, writes that key as fast as one connection
// can, and counts the events that arrive, until all of the last write's have.
func runWatch(ctx context.Context, t target, o options) (result, error) {
	const path = "/v2/keys/watched?wait=true&stream=true"
	streams, err := openStreams(ctx, t, o.watchers, path)
	if err != nil {
		return result{}, err
	}
	defer streams.close()
	begin := time.Now()
	request := t.put("/watched", o.valueBytes, "")
	r, err := closedLoop(ctx, t, o, 1, func(int, int) []byte { return request })
	if err != nil {
		return result{}, err
	}
	want := r.Requests * uint64(o.watchers)
	got, err := streams.wait(ctx, want)
	r.Extra["events"] = float64(got)
	r.Extra["events_per_second"] = float64(got) / time.Since(begin).Seconds()
	r.Extra["lost"] = float64(want - got)
	return r, err
}

// streams are watchers that count their events.
type streams struct {
	events  atomic.Uint64
	readers readers
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
	return s, s.readers.start(&s.events)
}

func (s *streams) open(t target, path string) error {
	c, err := dial(t)
	if err != nil {
		return err
	}
	if _, err := c.Write(t.get(path)); err != nil {
		return errors.Join(err, c.Close())
	}
	h, err := readHead(c.r)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	if h.status != 200 || !h.chunked {
		return errors.Join(fmt.Errorf("a stream was answered with status %d", h.status), c.Close())
	}
	return s.readers.add(c)
}

// lineEnds counts the events in what came on a stream. Each is a line of JSON,
// which begins and ends with a brace and holds no line end; before is the byte
// that came before b.
func lineEnds(before byte, b []byte) int {
	n := bytes.Count(b, []byte("}\n"))
	if before == '}' && len(b) > 0 && b[0] == '\n' {
		n++
	}
	return n
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

func (s *streams) close() error { return s.readers.close() }

// runExpiry writes keys with a ttl of one second, and measures how long after
// their deadline the expire event arrives.
func runExpiry(ctx context.Context, t target, o options) (result, error) {
	c, err := dial(t)
	if err != nil {
		return result{}, err
	}
	defer c.Close()
	watch, err := dial(t)
	if err != nil {
		return result{}, err
	}
	defer watch.Close()
	if _, err := watch.Write(t.get("/v2/keys/mortal?wait=true&recursive=true&stream=true")); err != nil {
		return result{}, err
	}
	if _, err := readHead(watch.r); err != nil {
		return result{}, err
	}
	type arrivals struct {
		at  []time.Time
		err error
	}
	arrived := make(chan arrivals, 1)
	go func() {
		at, err := readExpiries(watch, mortalKeys)
		arrived <- arrivals{at, err}
	}()
	begin := time.Now()
	deadlines, err := writeMortal(ctx, t, c, o.valueBytes)
	a := <-arrived
	if err := errors.Join(err, a.err); err != nil {
		return result{}, err
	}
	var h histogram
	for n, at := range a.at {
		h.add(max(0, at.Sub(deadlines[n])))
	}
	r := summary(&h, time.Since(begin))
	r.Extra["late_max_ms"] = r.Max
	return r, nil
}

const mortalKeys = 50

// writeMortal writes keys with a ttl of one second, spread over the server's
// period, if it has one; it gives their deadlines.
func writeMortal(ctx context.Context, t target, c *connection, valueBytes int) ([]time.Time, error) {
	var deadlines []time.Time
	for n := range mortalKeys {
		if _, err := c.exchange(t.put(fmt.Sprintf("/mortal/%d", n), valueBytes, "&ttl=1"), nil); err != nil {
			return nil, err
		}
		deadlines = append(deadlines, time.Now().Add(time.Second))
		select {
		case <-time.After(37 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return deadlines, nil
}

// readExpiries gives the times at which the expiries of so many keys arrived.
func readExpiries(watch *connection, keys int) ([]time.Time, error) {
	if err := watch.SetDeadline(time.Now().Add(ioTimeout)); err != nil {
		return nil, err
	}
	arrived := make([]time.Time, keys)
	lines := bufio.NewReader(&chunks{r: watch.r})
	for seen := 0; seen < keys; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil, err
		}
		_, after, found := strings.Cut(line, `"action":"expire","node":{"key":"/mortal/`)
		if !found {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(after, "%d", &n); err != nil || n < 0 || n >= keys {
			return nil, fmt.Errorf("an unknown key expired: %q", line)
		}
		arrived[n] = time.Now()
		seen++
	}
	return arrived, nil
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
