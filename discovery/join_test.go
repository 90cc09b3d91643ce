package discovery

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"canopy/internal/disk"
)

// idOf is B15.
func idOf(urls []string, token string) uint64 {
	sum := sha1.Sum([]byte(strings.Join(urls, "") + token))
	return binary.BigEndian.Uint64(sum[:])
}

// process is a process that joins, with a data directory of its own.
type process struct {
	Options
	log   *lines
	waits *script
}

func newProcess(t *testing.T, name, token string, steps ...func()) *process {
	t.Helper()
	parsed, err := ParseToken(token)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{log: &lines{}, waits: &script{steps: steps}}
	fsys := disk.NewMem()
	if err := fsys.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	p.Options = Options{
		Token: parsed, Name: name, PeerURLs: []string{"http://" + name + ".example:2380"}, IDOf: idOf, FS: fsys, Dir: "/data", Log: p.log,
		Pause: p.waits.pause,
		Started: func(context.Context, []string, uint64) (bool, error) {
			return false, errors.New("nobody is there to ask")
		},
	}
	return p
}

func (p *process) key() string { return fmt.Sprintf("%x", idOf(p.PeerURLs, p.Token.String())) }

func (p *process) value() string { return p.Name + "=" + p.PeerURLs[0] }

type outcome struct {
	peers []Peer
	err   error
}

// start joins in the background.
func (p *process) start(ctx context.Context) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		peers, err := Join(ctx, p.Options)
		done <- outcome{peers, err}
	}()
	return done
}

// hang is how long a test waits for an event that takes a moment on an idle
// machine.
const hang = 2 * time.Minute

// await gives the outcome.
func await(t *testing.T, done <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-done:
		return o
	case <-time.After(hang):
		t.Fatal("joining does not end")
		return outcome{}
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(hang)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("waited %v for %s", hang, what)
		}
	}
}

func names(peers []Peer) []string {
	var list []string
	for _, p := range peers {
		list = append(list, p.Name)
	}
	return list
}

// Three processes find each other, in the order of their registrations, with the
// IDs of B18; a fourth finds the cluster full (D6–D12, D16).
func TestProcessesFindEachOther(t *testing.T) {
	service := newTokenService(t, "3")
	var all []*process
	var done []<-chan outcome
	for n := range 3 {
		p := newProcess(t, fmt.Sprintf("m%d", n), service.url)
		all, done = append(all, p), append(done, p.start(t.Context()))
		eventually(t, "a registration", func() bool { return len(service.keys()) == n+1 })
		eventually(t, "it to be seen", func() bool { return strings.Contains(p.log.String(), fmt.Sprintf("found %d", n+1)) })
	}
	var want []Peer
	for _, p := range all {
		want = append(want, Peer{idOf(p.PeerURLs, service.url), p.Name, p.PeerURLs})
	}
	for n, d := range done {
		o := await(t, d)
		if diff := cmp.Diff(want, o.peers); o.err != nil || diff != "" {
			t.Errorf("m%d: %v, (-want +got)\n%s", n, o.err, diff)
		}
	}
	for _, line := range []string{"found self " + all[0].key(), "found 1 of 3 members, waiting for 2", "found peer " + all[2].key(), "found 3 needed peer(s)"} {
		if !strings.Contains(all[0].log.String(), line) {
			t.Errorf("the log lacks %q:\n%s", line, all[0].log)
		}
	}
	late := newProcess(t, "m3", service.url)
	_, err := Join(t.Context(), late.Options)
	if full := (*FullError)(nil); !errors.As(err, &full) || !cmp.Equal(full.Members, want) {
		t.Errorf("a fourth process: %v, want that the cluster is full", err)
	}
	if keys := service.keys(); len(keys) != 3 {
		t.Errorf("the fourth process has registered: %v (D8)", keys)
	}
	proxy := newProcess(t, "p", service.url)
	if peers, err := Members(t.Context(), proxy.Options); err != nil || !cmp.Equal(peers, want) {
		t.Errorf("Members = %v, %v, want %v (D39)", peers, err, want)
	}
}

// A proxy waits for a token that is not complete, and never registers (D39).
func TestAProxyWaitsAndDoesNotRegister(t *testing.T) {
	service := newTokenService(t, "1")
	proxy := newProcess(t, "p", service.url)
	done := make(chan outcome, 1)
	go func() {
		peers, err := Members(t.Context(), proxy.Options)
		done <- outcome{peers, err}
	}()
	eventually(t, "the proxy to wait", service.waits)
	service.set("1a", "m1=http://m1.example:2380")
	if o := await(t, done); o.err != nil || !slices.Equal(names(o.peers), []string{"m1"}) {
		t.Errorf("Members = %v, %v", o.peers, o.err)
	}
}

// Two register at the same time for one slot: the later one finds out (D9).
func TestTheLaterProcessIsNotAMember(t *testing.T) {
	service := newTokenService(t, "1")
	service.do(func() {
		service.script = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				service.do(func() { service.script = nil })
				service.set("1a", "m1=http://m1.example:2380")
			}
			return false
		}
	})
	p := newProcess(t, "m2", service.url)
	_, err := Join(t.Context(), p.Options)
	if full := (*FullError)(nil); !errors.As(err, &full) || !slices.Equal(names(full.Members), []string{"m1"}) {
		t.Errorf("Join = %v, want that the cluster is full", err)
	}
	if n, err := readNote(p.FS, p.Dir); n != (note{}) || err != nil {
		t.Errorf("after all a note is left: %v, %v", n, err)
	}
}

// A permanent error ends the process with a reason, before it registers: the
// token is unchanged (R42, D15–D21).
func TestPermanentErrors(t *testing.T) {
	html := func(status int) func(http.ResponseWriter, *http.Request) bool {
		return refuseWith(everything, status, "<html>welcome</html>")
	}
	tests := []struct {
		name   string
		size   string
		keys   [][2]string
		script func(http.ResponseWriter, *http.Request) bool
		want   error
		text   string
	}{
		{name: "no size (D15)", want: ErrNoSize, text: "no size is set for this token: http://"},
		{name: "an HTML page (D19)", size: "3", script: html(200), want: ErrBadEndpoint, text: `it answers 200 with 20 bytes`},
		{name: "an HTML page, 404 (D19)", size: "3", script: html(404), want: ErrBadEndpoint, text: "discovery: bad discovery endpoint"},
		{name: "JSON of something else", size: "3", script: refuseWith(everything, 200, `{"hello":"world"}`), want: ErrBadEndpoint},
		{name: "nothing but null", size: "3", script: refuseWith(everything, 200, `null`), want: ErrBadEndpoint},
		{name: "an answer without end", size: "3", script: refuseWith(everything, 200, strings.Repeat(" ", answerMax+1)), want: ErrBadEndpoint},
		{name: "no password", size: "3", script: refuseWith(everything, 401, `{"errorCode":110,"message":"The request requires user authentication"}`), want: ErrRefused, text: "401, code 110"},
		{name: "a value that does not parse (D20)", size: "3", keys: [][2]string{{"1a", "m2=nonsense"}}, want: ErrInvalidURL},
		{name: "a value without name (D20)", size: "3", keys: [][2]string{{"1a", "=http://a:1"}}, want: ErrInvalidURL},
		{name: "a name that would forge log lines (M3)", size: "3", keys: [][2]string{{"1a", "m2\nroot=http://a:1"}}, want: ErrInvalidURL},
		{name: "an empty value (D20)", size: "3", keys: [][2]string{{"1a", ""}}, want: ErrInvalidURL},
		{name: "two names in one value", size: "3", keys: [][2]string{{"1a", "m2=http://a:1,m3=http://b:1"}}, want: ErrInvalidURL},
		{name: "a key that is no ID", size: "3", keys: [][2]string{{"hello", "m2=http://a:1"}}, want: ErrInvalidURL},
		{name: "the ID 0 (B20)", size: "3", keys: [][2]string{{"0", "m2=http://a:1"}}, want: ErrInvalidURL},
		{name: "the own name (D21)", size: "3", keys: [][2]string{{"1a", "m1=http://a:1"}}, want: ErrDuplicateName, text: "please do not reuse the discovery token"},
		{name: "the own URL (D12)", size: "3", keys: [][2]string{{"1a", "m2=http://m1.example:2380"}}, want: ErrDuplicateURL},
		{name: "a name twice (D21)", size: "5", keys: [][2]string{{"1a", "m2=http://a:1"}, {"1b", "m2=http://b:1"}}, want: ErrDuplicateName},
		{name: "a URL twice (D12)", size: "5", keys: [][2]string{{"1a", "m2=http://a:1"}, {"1b", "m3=http://a:1"}}, want: ErrDuplicateURL},
		{name: "an ID twice (B20)", size: "5", keys: [][2]string{{"1a", "m2=http://a:1"}, {"01a", "m3=http://b:1"}}, want: ErrDuplicateID},
	}
	for _, size := range []string{"0", "-1", "32", "1000000000", "three", "99999999999999999999", " 3", "3.0"} {
		tests = append(tests, tests[0])
		last := &tests[len(tests)-1]
		last.name, last.size, last.want, last.text = fmt.Sprintf("size %q (R42)", size), size, ErrBadSize, "discovery: size key is bad"
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			service := newTokenService(t, tt.size)
			for _, k := range tt.keys {
				service.set(k[0], k[1])
			}
			service.do(func() { service.script = tt.script })
			p := newProcess(t, "m1", service.url)
			_, err := Join(t.Context(), p.Options)
			var e *TokenError
			if !errors.As(err, &e) || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) || e.Advice == "" {
				t.Errorf("Join = %v, want %v, with %q and advice", err, tt.want, tt.text)
			}
			if got := len(service.keys()); got != len(tt.keys) {
				t.Errorf("%d keys are registered, want the %d there were", got, len(tt.keys))
			}
		})
	}
}

// An empty size is bad, and not missing.
func TestAnEmptySize(t *testing.T) {
	service := newTokenService(t, "3")
	service.do(func() {
		service.script = refuseWith(func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/size") }, 200,
			`{"action":"get","node":{"key":"/discovery/tok1/_config/size","value":""}}`)
	})
	if _, err := Join(t.Context(), newProcess(t, "m1", service.url).Options); !errors.Is(err, ErrBadSize) {
		t.Errorf("Join = %v, want %v", err, ErrBadSize)
	}
}

// Each temporary failure is retried, also of registering, with pauses that grow
// to 10 s (R43, R106, D14).
func TestTemporaryErrorsAreRetried(t *testing.T) {
	is := func(method, part string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.String(), part) }
	}
	for _, tt := range []struct {
		name   string
		match  func(*http.Request) bool
		status int // 0: the connection is cut
		text   string
	}{
		{"the size, service away", is("GET", "/size"), 0, "cluster status check: error connecting to"},
		{"the list, store away", is("GET", "tok1?quorum"), 503, "cluster status check: error connecting to"},
		{"the list, too many requests", is("GET", "tok1?quorum"), 429, "429"},
		{"registering, service away", is("PUT", ""), 0, "registering: error connecting to"},
		{"registering, store away", is("PUT", ""), 500, "registering: error connecting to"},
		{"waiting, service away", is("GET", "wait=true"), 0, "waiting for other nodes: error connecting to"},
		{"waiting, store away", is("GET", "wait=true"), 502, "waiting for other nodes: error connecting to"},
		{"waiting, a wait that ends at once", is("GET", "wait=true"), 200, "ends waits at once"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			service := newTokenService(t, "2")
			var failing atomic.Bool
			failing.Store(true)
			service.do(func() {
				service.script = func(w http.ResponseWriter, r *http.Request) bool {
					if !failing.Load() || !tt.match(r) {
						return false
					}
					if tt.status == 0 {
						panic(http.ErrAbortHandler)
					}
					w.WriteHeader(tt.status)
					return true
				}
			})
			steps := slices.Repeat([]func(){func() {}}, 5)
			p := newProcess(t, "m1", service.url, append(steps, func() { failing.Store(false) })...)
			told := &lines{}
			p.Waiting = func(status string) { told.add("%s", status) }
			done := p.start(t.Context())
			eventually(t, "the service to be well", func() bool { return !failing.Load() })
			service.set("1a", "m2=http://m2.example:2380")
			o := await(t, done)
			if got := names(o.peers); o.err != nil || !slices.Equal(got, []string{"m1", "m2"}) && !slices.Equal(got, []string{"m2", "m1"}) {
				t.Fatalf("Join = %v, %v, want m1 and m2", o.peers, o.err)
			}
			if !strings.Contains(p.log.String(), tt.text) {
				t.Errorf("the log lacks %q:\n%s", tt.text, p.log)
			}
			if strings.Count(told.String(), tt.text) < 6 || !strings.Contains(told.String(), "found 2 needed peer(s)") {
				t.Errorf("what is waited for lacks %q or the end:\n%s", tt.text, told)
			}
			for i, most := range []time.Duration{2, 4, 8, 10, 10, 10} {
				if d := p.waits.took[i]; d > most*time.Second || d <= most*time.Second*3/4 {
					t.Errorf("pause %d took %v, want up to %d s, and at most a quarter less", i, d, most)
				}
			}
		})
	}
}

// A registration whose answer was lost is found, and not made twice.
func TestALostAnswerToRegistering(t *testing.T) {
	service := newTokenService(t, "1")
	service.do(func() {
		service.script = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut {
				return false
			}
			service.set(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], r.PostFormValue("value"))
			panic(http.ErrAbortHandler)
		}
	})
	p := newProcess(t, "m1", service.url, func() {})
	if peers, err := Join(t.Context(), p.Options); err != nil || !slices.Equal(names(peers), []string{"m1"}) {
		t.Errorf("Join = %v, %v, want m1", peers, err)
	}
}

// Deletes, overwrites, and keys that come and go are not members (R106, D22).
func TestEventsAreNotMembers(t *testing.T) {
	service := newTokenService(t, "3")
	p := newProcess(t, "m1", service.url)
	done := p.start(t.Context())
	eventually(t, "m1 to register", func() bool { return slices.Contains(service.keys(), p.key()) })
	service.set("1a", "m2=http://m2.example:2380")
	service.delete("1a")
	service.set("1a", "m2=http://m2.example:2380")
	service.set("1a", "m2=http://m2.example:2380")
	service.set("1a", "m2=http://m2.example:2380")
	eventually(t, "m2 to be seen", func() bool { return strings.Contains(p.log.String(), "found peer 1a") })
	select {
	case o := <-done:
		t.Fatalf("Join = %v, %v with two members of three", o.peers, o.err)
	default:
	}
	service.set("1b", "m3=http://m3.example:2380")
	if o := await(t, done); o.err != nil || !slices.Equal(names(o.peers), []string{"m1", "m2", "m3"}) {
		t.Errorf("Join = %v, %v, want m1, m2 and m3", o.peers, o.err)
	}
}

// The process registers again in a registry that was emptied, or rebuilt (D26).
func TestTheRegistryIsRebuilt(t *testing.T) {
	service := newTokenService(t, "2")
	p := newProcess(t, "m1", service.url, func() { service.do(func() { service.size = "2" }) })
	done := p.start(t.Context())
	eventually(t, "m1 to wait", service.waits)
	service.do(func() { service.size = "" })
	service.delete(p.key())
	eventually(t, "m1 to register again", func() bool { return slices.Contains(service.keys(), p.key()) })
	service.set("1a", "m2=http://m2.example:2380")
	if o := await(t, done); o.err != nil || len(o.peers) != 2 {
		t.Errorf("Join = %v, %v, want two members", o.peers, o.err)
	}
	if !strings.Contains(p.log.String(), "is gone") {
		t.Errorf("the log does not say that the token was gone:\n%s", p.log)
	}
}

// A process that restarts while it waits continues, at whatever point it was
// killed: before or after registering, and before or after the others came (D24, R43).
func TestARestartWhileWaiting(t *testing.T) {
	for _, tt := range []struct {
		name            string
		registered      bool
		othersMeanwhile bool
	}{
		{"before registering", false, false},
		{"before registering, one has come", false, true},
		{"after registering", true, false},
		{"after registering, the others have come", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			service := newTokenService(t, "2")
			p := newProcess(t, "m1", service.url)
			if tt.registered {
				ctx, cancel := context.WithCancel(t.Context())
				done := p.start(ctx)
				eventually(t, "m1 to wait", service.waits)
				cancel()
				if o := await(t, done); !errors.Is(o.err, context.Canceled) {
					t.Fatalf("Join = %v", o.err)
				}
			} else {
				n := note{p.Token.String(), p.key(), p.value()}
				if err := n.write(p.FS, p.Dir); err != nil {
					t.Fatal(err)
				}
			}
			other := func() { service.set("1a", "m2=http://m2.example:2380") }
			if tt.othersMeanwhile {
				other()
			}
			done := p.start(t.Context())
			if !tt.othersMeanwhile {
				other()
			}
			if o := await(t, done); o.err != nil || len(o.peers) != 2 {
				t.Errorf("Join = %v, %v, want two members", o.peers, o.err)
			}
			if _, err := readNote(p.FS, p.Dir); err != nil {
				t.Errorf("the note: %v", err)
			}
			if err := Forget(p.FS, p.Dir); err != nil {
				t.Error(err)
			}
			if err := Forget(p.FS, p.Dir); err != nil {
				t.Errorf("forgetting twice: %v", err)
			}
		})
	}
}

// A process that finds its own registration, without a note, continues while the
// list is incomplete. Otherwise the others know whether it ever ran (D24).
func TestARegistrationWithoutNote(t *testing.T) {
	type reply struct {
		started bool
		err     error
	}
	no, yes, away := reply{}, reply{started: true}, reply{err: errors.New("connection refused")}
	for _, tt := range []struct {
		name    string
		size    string
		replies []reply // of m2, m3, …
		want    error
	}{
		{"incomplete", "4", []reply{away, away}, errPatience},
		{"nobody knows that it ran", "3", []reply{no, no}, nil},
		{"one knows that it ran", "3", []reply{no, yes}, ErrAlreadyStarted},
		{"the only one that answers knows that it ran", "3", []reply{away, yes}, ErrAlreadyStarted},
		{"one of two does not answer", "3", []reply{no, away}, errPatience},
		{"one of three does not answer", "4", []reply{no, no, away}, nil},
		{"nobody answers", "3", []reply{away, away}, errPatience},
		{"there is nobody else", "1", nil, ErrAlreadyStarted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			service := newTokenService(t, tt.size)
			p := newProcess(t, "m1", service.url)
			service.set(p.key(), p.value())
			for n := range tt.replies {
				service.set(fmt.Sprintf("1%d", n), fmt.Sprintf("m%d=http://m%d.example:2380", n+2, n+2))
			}
			service.do(func() {
				service.script = refuseWith(func(r *http.Request) bool { return strings.Contains(r.URL.String(), "wait=true") }, 503, "")
			})
			p.Started = func(_ context.Context, urls []string, id uint64) (bool, error) {
				var n int
				if _, err := fmt.Sscanf(urls[0], "http://m%d.", &n); err != nil || id != idOf(p.PeerURLs, service.url) {
					t.Errorf("asked %v for %x: %v", urls, id, err)
				}
				return tt.replies[n-2].started, tt.replies[n-2].err
			}
			if peers, err := Join(t.Context(), p.Options); !errors.Is(err, tt.want) || err == nil && len(peers) != len(tt.replies)+1 {
				t.Errorf("Join = %v, %v, want %v", peers, err, tt.want)
			}
		})
	}
}

// A process that comes back with another name or other peer URLs is told what to
// do, and does not take a second slot.
func TestAProcessThatHasChanged(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(p *process)
	}{
		{"another name", func(p *process) { p.Name = "m9" }},
		{"another URL", func(p *process) { p.PeerURLs = []string{"http://other.example:2380"} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			service := newTokenService(t, "2")
			p := newProcess(t, "m1", service.url)
			n := note{p.Token.String(), p.key(), p.value()}
			if err := n.write(p.FS, p.Dir); err != nil {
				t.Fatal(err)
			}
			service.set(p.key(), p.value())
			tt.change(p)
			_, err := Join(t.Context(), p.Options)
			if !errors.Is(err, ErrOtherValue) || !strings.Contains(err.Error(), "curl -X DELETE "+service.url+"/"+n.Key) {
				t.Errorf("Join = %v, want %v, and how to delete the registration", err, ErrOtherValue)
			}
			service.delete(n.Key)
			done := p.start(t.Context())
			service.set("1a", "m2=http://m2.example:2380")
			if o := await(t, done); o.err != nil || len(o.peers) != 2 {
				t.Errorf("after that, Join = %v, %v, want two members", o.peers, o.err)
			}
		})
	}
}

// With two spellings of one token, all take the IDs from the keys, and so agree;
// the log tells it (R106, D25).
func TestTwoSpellingsOfAToken(t *testing.T) {
	service := newTokenService(t, "2")
	one := newProcess(t, "m1", service.url)
	other := newProcess(t, "m2", strings.Replace(service.url, "127.0.0.1", "localhost", 1)+"/")
	first, second := one.start(t.Context()), other.start(t.Context())
	a, b := await(t, first), await(t, second)
	if a.err != nil || b.err != nil || len(a.peers) != 2 || !cmp.Equal(a.peers, b.peers) {
		t.Fatalf("one sees %v, %v; the other %v, %v", a.peers, a.err, b.peers, b.err)
	}
	for _, p := range []*process{one, other} {
		if strings.Count(p.log.String(), "another spelling of the discovery URL") != 1 {
			t.Errorf("the log of %s does not warn once:\n%s", p.Name, p.log)
		}
	}
}

// A process whose context ends stops, at every point.
func TestJoinEndsWithItsContext(t *testing.T) {
	service := newTokenService(t, "2")
	p := newProcess(t, "m1", service.url)
	p.Pause = nil
	if _, err := Join(canceled(t.Context()), p.Options); !errors.Is(err, context.Canceled) {
		t.Errorf("Join = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := p.start(ctx)
	eventually(t, "m1 to wait", service.waits)
	cancel()
	if o := await(t, done); !errors.Is(o.err, context.Canceled) {
		t.Errorf("Join = %v", o.err)
	}
}

// A full disk is found before registering.
func TestTheNoteComesBeforeRegistering(t *testing.T) {
	service := newTokenService(t, "2")
	p := newProcess(t, "m1", service.url)
	fsys := disk.NewMem()
	p.FS = fsys
	if err := fsys.MkdirAll("/data"); err != nil {
		t.Fatal(err)
	}
	fsys.SetCapacity(1)
	if _, err := Join(t.Context(), p.Options); !errors.Is(err, disk.ErrNoSpace) || len(service.keys()) != 0 {
		t.Errorf("Join = %v, with %d registrations, want none", err, len(service.keys()))
	}
}
