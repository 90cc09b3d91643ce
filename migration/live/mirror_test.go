package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"canopy/client"
	"canopy/client/membertest"
)

// long is far more than what is waited for takes.
const long = 2 * time.Minute

func connect(t *testing.T, m *membertest.Cluster) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Endpoints: m.ClientURLs()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// keysOf is all files of a cluster, with their values.
func keysOf(ctx context.Context, t *testing.T, c *client.Client) string {
	t.Helper()
	r, err := c.Get(ctx, "/", client.GetOptions{Recursive: true, Sorted: true, Quorum: true})
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	if err := walk(r.Node, func(n *client.Node) error {
		text += fmt.Sprintln(n.Key, n.Dir, n.Value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return text
}

// TestAMirrorUnderLoad: many clients write, overwrite and delete files and directories while the mirror follows, and its history
// is too short now and then; when all have stopped, and the mirror with them, both sides are equal (G60).
func TestAMirrorUnderLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	from := connect(t, membertest.StartWith(t, 1, 50))
	to := connect(t, membertest.Start(t, 1))
	if _, err := to.Set(ctx, "/extra", "1", client.SetOptions{}); err != nil {
		t.Fatal(err)
	}
	following := make(chan struct{})
	once := sync.OnceFunc(func() { close(following) })
	m := &Mirror{From: from, To: V2{to}, Key: "/", Delete: true, Every: 10 * time.Millisecond, Log: func(format string, args ...any) {
		t.Logf(format, args...)
		once()
	}}
	mirroring, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(mirroring) }()
	<-following
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			for i := range 100 {
				key := fmt.Sprintf("/d%d/k%d", n%3, i%7)
				_, err := from.Set(ctx, key, fmt.Sprint(n, i), client.SetOptions{})
				switch {
				case err == nil && i%10 == 9:
					_, err = from.Delete(ctx, fmt.Sprintf("/d%d", n%3), client.DeleteOptions{Recursive: true})
				case err == nil && i%10 == 4:
					_, err = from.Delete(ctx, key, client.DeleteOptions{})
				}
				if err != nil && !errors.Is(err, client.ErrKeyNotFound) {
					t.Error(err)
					return
				}
			}
		})
	}
	clients.Wait()
	last, err := from.Set(ctx, "/last", "1", client.SetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for m.seen.Load() < last.Node.ModifiedIndex { // the key itself comes early when all is listed again
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the mirror has seen index %d, want %d", m.seen.Load(), last.Node.ModifiedIndex)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, want := keysOf(ctx, t, to), keysOf(ctx, t, from); got != want {
		t.Errorf("the mirror has\n%s\nwant\n%s", got, want)
	}
}

// TestAMirrorThatIsRefusedEnds: what would fail again is no reason to try for ever.
func TestAMirrorThatIsRefusedEnds(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	from := connect(t, membertest.Start(t, 1))
	if _, err := from.Set(ctx, "/a", "1", client.SetOptions{}); err != nil {
		t.Fatal(err)
	}
	m := &Mirror{From: from, To: refusing{}, Key: "/", Every: time.Second, Log: t.Logf}
	var said *client.Error
	if err := m.Run(ctx); !errors.As(err, &said) || said.Status != 401 {
		t.Errorf("it ends with %v", err)
	}
}

type refusing struct{}

func (refusing) Put(context.Context, *client.Node, time.Duration) error {
	return &client.Error{Code: client.ErrUnauthorized, Status: 401}
}
func (refusing) Delete(context.Context, string, bool) error { return nil }
func (refusing) Keys(context.Context, string) (map[string]bool, error) {
	return nil, nil
}
