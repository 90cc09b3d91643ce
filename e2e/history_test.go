package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

var (
	rounds = flag.Int("rounds", 1, "how often each fault of the linearizability tests is repeated, for soaking")
	seed   = flag.Uint64("seed", 0, "seed of the random clients; 0: a fresh one, which is printed")
)

// act is what a client did to one key, and what it was told.
type act struct {
	kind, key string // kind: read, set, swap
	from, to  string // swap: the value expected; set, swap: the new one
	found     string // read: the value; swap that did not apply: the one in its way; "" for none
	outcome   outcome
}

type outcome byte

const (
	applied outcome = iota
	differs         // a swap that found another value
	unknown         // it may have happened, or may yet
	never           // it cannot have happened
)

// registers is the model that histories are checked against: each key holds one
// value, "" at first. A write whose outcome is unknown leaves two states.
var registers = porcupine.NondeterministicModel{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		at := map[string]int{}
		var parts [][]porcupine.Operation
		for _, o := range all {
			key := o.Input.(act).key
			if _, seen := at[key]; !seen {
				at[key] = len(parts)
				parts = append(parts, nil)
			}
			parts[at[key]] = append(parts[at[key]], o)
		}
		return parts
	},
	Init: func() []any { return []any{""} },
	Step: func(state, _, output any) []any { return after(state.(string), output.(act)) },
}

// after gives the values that a key may have after an act; none if the act
// contradicts the value.
func after(value string, a act) []any {
	writes := a.kind == "set" || a.kind == "swap" && value == a.from
	switch {
	case a.outcome == unknown && writes:
		return []any{value, a.to}
	case a.outcome == unknown, (a.kind == "read" || a.outcome == differs && !writes) && a.found == value:
		return []any{value}
	case a.kind != "read" && a.outcome == applied && writes:
		return []any{a.to}
	}
	return nil
}

// history is what several clients did at once.
type history struct {
	t     *testing.T
	c     *cluster
	keys  string // what the names of this history's keys begin with
	local bool   // reads are plain ones
	began time.Time
	known atomic.Int64 // acts with a known outcome

	mu   sync.Mutex // guards done
	done []porcupine.Operation
}

const (
	historyClients = 8
	historyKeys    = 12
	patience       = time.Second // of a client, for one answer
)

func newHistory(c *cluster) *history {
	return &history{t: c.t, c: c, keys: fmt.Sprintf("/v2/keys/h%x/", rand.Uint32()), began: time.Now()}
}

// run has clients do random things to random members until ctx ends.
func (h *history) run(ctx context.Context, targets *atomic.Pointer[[]*server]) *sync.WaitGroup {
	from := *seed
	if from == 0 {
		from = rand.Uint64()
	}
	h.t.Logf("the clients' seed is %d", from)
	var all sync.WaitGroup
	for client := range historyClients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(from, uint64(client)))
			link := &http.Client{Timeout: patience, Transport: &http.Transport{}}
			defer link.CloseIdleConnections()
			last := map[string]string{} // what the client believes of each key
			for n := 0; ctx.Err() == nil; n++ {
				members := *targets.Load()
				a := act{kind: "read", key: fmt.Sprintf("%s%d", h.keys, r.IntN(historyKeys))}
				switch r.IntN(3) {
				case 0:
					a.kind, a.to = "set", fmt.Sprintf("%d-%d", client, n)
				case 1:
					if last[a.key] != "" {
						a.kind, a.from, a.to = "swap", last[a.key], fmt.Sprintf("%d-%d", client, n)
					}
				}
				at := client // most stay with one member, so that they do not all wait for one that is cut off
				if client%4 == 3 {
					at = r.IntN(len(members))
				}
				a = h.note(client, link, members[at%len(members)], a)
				last[a.key] = believed(a)
			}
		})
	}
	return &all
}

// believed is the value that a client believes a key to have after an act.
func believed(a act) string {
	if a.kind == "read" || a.outcome == differs {
		return a.found
	}
	return a.to
}

// note does an act on a member, and keeps it in the history.
func (h *history) note(client int, link *http.Client, s *server, a act) act {
	call := time.Since(h.began)
	done := h.do(link, s, a)
	end := time.Since(h.began)
	switch done.outcome {
	case never:
		return done
	case unknown:
		end = time.Hour // it may happen at any later time
	default:
		h.known.Add(1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, porcupine.Operation{ClientId: client, Input: a, Output: done, Call: int64(call), Return: int64(end)})
	return done
}

// do sends an act, and reads its outcome from the answer.
func (h *history) do(link *http.Client, s *server, a act) act {
	method, target, form := http.MethodPut, s.client+a.key, "value="+a.to
	switch {
	case a.kind == "read" && h.local:
		method, form = http.MethodGet, ""
	case a.kind == "read":
		method, target, form = http.MethodGet, target+"?quorum=true", ""
	case a.kind == "swap":
		target += "?prevValue=" + url.QueryEscape(a.from)
	}
	answer, err := send(link, method, target, form)
	switch {
	case err == nil && answer.status < 300:
		a.found = h.value(answer)
	case err == nil && answer.status == http.StatusNotFound && a.kind != "set":
		if a.kind == "swap" {
			a.outcome = differs
		}
	case err == nil && answer.status == http.StatusPreconditionFailed && a.kind == "swap":
		a.outcome, a.found = differs, h.inTheWay(answer, a.from)
	case a.kind == "read" || neverSent(err):
		a.outcome = never
	case err == nil && answer.status < 500:
		h.t.Errorf("%s %s = %d %s", method, target, answer.status, answer.body)
		a.outcome = never
	default:
		a.outcome = unknown
	}
	return a
}

// neverSent is whether there was no connection to send a request on.
func neverSent(err error) bool {
	var failed *net.OpError
	return errors.As(err, &failed) && failed.Op == "dial"
}

func (h *history) value(a answer) string {
	var body struct{ Node struct{ Value string } }
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		h.t.Errorf("answer %q: %v", a.body, err)
	}
	return body.Node.Value
}

// inTheWay is the value that a swap found, from the cause "[expected != found]".
func (h *history) inTheWay(a answer, from string) string {
	var body struct{ Cause string }
	err := json.Unmarshal([]byte(a.body), &body)
	found, ok := strings.CutPrefix(body.Cause, "["+from+" != ")
	if err != nil || !ok {
		h.t.Errorf("answer %q to a swap from %s: %v", a.body, from, err)
	}
	return strings.TrimSuffix(found, "]")
}

// check asks the checker for its verdict.
func (h *history) check() porcupine.CheckResult {
	h.t.Helper()
	began := time.Now()
	result := porcupine.CheckOperationsTimeout(registers.ToModel(), h.done, time.Minute)
	h.t.Logf("%d operations, %d with a known outcome: %s, after %v", len(h.done), h.known.Load(), result, time.Since(began).Round(time.Millisecond))
	return result
}
