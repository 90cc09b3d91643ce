package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// who is the header line with the credentials of --user.
func (o *options) who() string {
	if o.user == "" {
		return ""
	}
	return basic(o.user)
}

func basic(userAndPassword string) string {
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(userAndPassword)) + "\r\n"
}

const rootUser = "root:of the load tool"

// enableUsers makes --user with a role of --patterns patterns, and then has users enabled.
func (o *options) enableUsers(ctx context.Context, t target) error {
	name, password, _ := strings.Cut(o.user, ":")
	patterns := []string{"/bench/*", "/watched", "/mortal*"}
	if o.patterns == 1 {
		patterns = []string{"/*"}
	}
	for n := len(patterns); n < o.patterns; n++ {
		patterns = append(patterns, fmt.Sprintf("/other/%06d/*", n))
	}
	_, rootPassword, _ := strings.Cut(rootUser, ":")
	return t.admin(ctx, []change{
		{"users/root", map[string]any{"user": "root", "password": rootPassword}},
		{"roles/bench", map[string]any{"role": "bench", "permissions": map[string]any{"kv": map[string]any{"read": patterns, "write": patterns}}}},
		{"users/" + name, map[string]any{"user": name, "password": password, "roles": []string{"bench"}}},
		{"enable", nil},
	})
}

// change is a PUT below /v2/auth.
type change struct {
	path string
	body any
}

// admin makes changes one after the other, as root.
func (t target) admin(ctx context.Context, changes []change) error {
	c, err := dial(t)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, change := range changes {
		body, err := json.Marshal(change.body)
		if err != nil {
			return err
		}
		request := fmt.Appendf(nil, "PUT /v2/auth/%s HTTP/1.1\r\nHost: 127.0.0.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			change.path, basic(rootUser), len(body), body)
		var said bytes.Buffer
		status, err := c.exchange(request, &said)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		if status != 200 && status != 201 {
			return badStatus(request, strconv.Itoa(status)+" "+said.String())
		}
	}
	return nil
}

var errNeedsUser = errors.New("this workload needs --user")

// alone drives a load without anything else for the time of o, as a base for ratios.
func alone(ctx context.Context, t target, o options, next func(connection, n int) []byte) (result, error) {
	if o.user == "" {
		return result{}, errNeedsUser
	}
	return closedLoop(ctx, t, o, o.connections, next)
}

// runFirstLogins reads with the password of one user, which is known, while many others make their first request.
func runFirstLogins(ctx context.Context, t target, o options) (result, error) {
	var changes []change
	for n := range o.users {
		changes = append(changes, change{fmt.Sprintf("users/u%d", n), map[string]any{"user": fmt.Sprintf("u%d", n), "password": "password", "roles": []string{"bench"}}})
	}
	if err := errors.Join(t.admin(ctx, changes), preload(ctx, t, 1, o.valueBytes)); err != nil {
		return result{}, err
	}
	request := t.get("/v2/keys" + key(0))
	before, err := alone(ctx, t, o, func(int, int) []byte { return request })
	if err != nil {
		return result{}, err
	}
	var all sync.WaitGroup
	var served, refused, done atomic.Int64
	errs := make([]error, o.users)
	begin := time.Now()
	for n := range o.users {
		all.Go(func() {
			defer done.Add(1)
			own := t.as(fmt.Sprintf("u%d:password", n))
			for errs[n] == nil {
				var status int
				if status, errs[n] = own.once(own.get("/v2/keys" + key(0))); status == 200 {
					served.Add(1)
					return
				}
				refused.Add(1) // it tries again, as clients do
			}
		})
	}
	took, err := drive(ctx, t, o.connections, func(int, int) []byte {
		if done.Load() == int64(o.users) {
			return nil
		}
		return request
	})
	all.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return result{}, err
	}
	r := summary(took, time.Since(begin))
	r.Extra["p99_ratio"], r.Extra["alone_p99_ms"] = r.P99/before.P99, before.P99
	r.Extra["logins_served"], r.Extra["logins_refused"], r.Extra["logins_ms"] = float64(served.Load()), float64(refused.Load()), milliseconds(time.Since(begin))
	return r, nil
}

// as gives the target for another user.
func (t target) as(userAndPassword string) target {
	t.who = basic(userAndPassword)
	return t
}

// once sends a request over a connection of its own. A server that does not answer in time gives status 0.
func (t target) once(request []byte) (status int, err error) {
	c, err := dial(t)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	status, err = c.exchange(request, nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return status, err
}

// wrongConnections carry the wrong passwords.
const wrongConnections = 256

// runWrongPasswords writes while wrong passwords arrive at a fixed rate, or as fast as their connections are answered.
func runWrongPasswords(ctx context.Context, t target, o options) (result, error) {
	before, err := alone(ctx, t, o, writes(t, o, o.connections))
	if err != nil {
		return result{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	var sent, answered atomic.Int64
	tickets := make(chan struct{}, wrongConnections)
	all.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(o.wrong))
		defer tick.Stop()
		for ctx.Err() == nil {
			<-tick.C
			select {
			case tickets <- struct{}{}:
			default: // all connections wait for answers
			}
		}
		close(tickets)
	})
	errs := make([]error, wrongConnections)
	for n := range wrongConnections {
		all.Go(func() { errs[n] = t.guess(ctx, tickets, &sent, &answered) })
	}
	r, err := closedLoop(ctx, t, o, o.connections, writes(t, o, o.connections))
	stop()
	all.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return result{}, err
	}
	r.Extra["rate_ratio"], r.Extra["alone_per_second"] = r.Throughput/before.Throughput, before.Throughput
	r.Extra["wrong_per_second"] = float64(answered.Load()) / o.duration.Seconds()
	return r, nil
}

// guess sends a wrong password for each ticket, until ctx ends.
func (t target) guess(ctx context.Context, tickets <-chan struct{}, sent, answered *atomic.Int64) error {
	c, err := dial(t)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })() // an answer may be long in coming
	for range tickets {
		status, err := c.exchange(t.as(fmt.Sprintf("root:guess %d", sent.Add(1))).get("/v2/keys"+key(0)), nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case status != 401 && status != 503:
			return fmt.Errorf("a wrong password was answered with status %d", status)
		}
		answered.Add(1)
	}
	return nil
}
