package lock_test

import (
	"context"
	"fmt"
	"log"

	"canopy/client"
	"canopy/client/lock"
	"canopy/client/membertest"
)

// member runs for one example.
type member struct{ cleanups []func() }

func (*member) Helper()                      {}
func (*member) Name() string                 { return "example" }
func (m *member) Cleanup(f func())           { m.cleanups = append(m.cleanups, f) }
func (*member) Errorf(f string, args ...any) { log.Printf(f, args...) }
func (*member) Fatalf(f string, args ...any) { log.Panicf(f, args...) }

func Example() {
	var run member
	endpoints := membertest.Start(&run, 1).ClientURLs()
	defer func() {
		for n := len(run.cleanups) - 1; n >= 0; n-- {
			run.cleanups[n]()
		}
	}()
	ctx := context.Background()
	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		log.Fatal(err)
	}
	l, err := lock.Acquire(ctx, c, "/locks/backup", lock.Options{Value: "host a"})
	if err != nil {
		log.Fatal(err)
	}
	select {
	case <-l.Lost():
		fmt.Println("another one may hold it now")
	default:
		fmt.Println("held, with a token above 0:", l.Token() > 0)
	}
	if err := l.Release(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: held, with a token above 0: true
}
