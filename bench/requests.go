package main

import (
	"context"
	"errors"
	"time"
)

// writes makes requests for a connection that sets its share of the keys in turn.
func writes(t target, o options, connections int) func(connection, n int) []byte {
	share := max(1, o.keys/connections)
	prepared := make([][]byte, o.keys)
	for n := range prepared {
		prepared[n] = t.put(key(n), o.valueBytes, "")
	}
	return func(connection, n int) []byte { return prepared[(connection*share+n%share)%o.keys] }
}

func runPut(ctx context.Context, t target, o options) (result, error) {
	return closedLoop(ctx, t, o, o.connections, writes(t, o, o.connections))
}

func runPutAlone(ctx context.Context, t target, o options) (result, error) {
	return closedLoop(ctx, t, o, 1, writes(t, o, 1))
}

func runGet(ctx context.Context, t target, o options) (result, error) {
	return reads(ctx, t, o, "/v2/keys"+key(0))
}

func runQuorumGet(ctx context.Context, t target, o options) (result, error) {
	return reads(ctx, t, o, "/v2/keys"+key(0)+"?quorum=true")
}

func reads(ctx context.Context, t target, o options, path string) (result, error) {
	if err := preload(ctx, t, 1, o.valueBytes); err != nil {
		return result{}, err
	}
	request := t.get(path)
	return closedLoop(ctx, t, o, o.connections, func(int, int) []byte { return request })
}

// runHeld writes to a tree of o.keys for long enough to see snapshots taken.
func runHeld(ctx context.Context, t target, o options) (result, error) {
	if err := preload(ctx, t, o.keys, o.valueBytes); err != nil {
		return result{}, err
	}
	return closedLoop(ctx, t, o, o.connections, writes(t, o, o.connections))
}

// runList writes while one more connection lists everything again and again.
func runList(ctx context.Context, t target, o options) (result, error) {
	if err := preload(ctx, t, o.keys, o.valueBytes); err != nil {
		return result{}, err
	}
	listing, stop := context.WithCancel(ctx)
	lists := make(chan listed, 1)
	go func() { lists <- listAgain(listing, t) }()
	r, err := closedLoop(ctx, t, o, o.connections, writes(t, o, o.connections))
	stop()
	l := <-lists
	if r.Extra != nil {
		r.Extra["listings"] = float64(l.count)
		r.Extra["listing_max_ms"] = milliseconds(l.longest)
	}
	return r, errors.Join(err, l.err)
}

type listed struct {
	count   int
	longest time.Duration
	err     error
}

func listAgain(ctx context.Context, t target) (l listed) {
	c, err := dial(t)
	if err != nil {
		return listed{err: err}
	}
	defer c.Close()
	request := t.get("/v2/keys/?recursive=true&sorted=true")
	for ctx.Err() == nil {
		begin := time.Now()
		if _, err := c.exchange(request, nil); err != nil {
			return listed{err: err}
		}
		l.count++
		l.longest = max(l.longest, time.Since(begin))
	}
	return l
}
