package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"canopy/client"
	"canopy/client/membertest"
)

// A member runs for one example.
type exampleRun struct{ cleanups []func() }

func (*exampleRun) Helper()                      {}
func (*exampleRun) Name() string                 { return "example" }
func (e *exampleRun) Cleanup(f func())           { e.cleanups = append(e.cleanups, f) }
func (*exampleRun) Errorf(f string, args ...any) { log.Printf(f, args...) }
func (*exampleRun) Fatalf(f string, args ...any) { log.Panicf(f, args...) }
func (e *exampleRun) end() {
	for _, cleanup := range slices.Backward(e.cleanups) {
		cleanup()
	}
}

// startMember gives the client URLs of a member.
func startMember() (endpoints []string, end func()) {
	var run exampleRun
	return membertest.Start(&run, 1).ClientURLs(), run.end
}

func Example() {
	endpoints, end := startMember()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Set(ctx, "/greeting", "hello", client.SetOptions{TTL: time.Minute}); err != nil {
		log.Fatal(err)
	}
	r, err := c.Get(ctx, "/greeting", client.GetOptions{Quorum: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Node.Key, r.Node.Value)
	_, err = c.Get(ctx, "/none", client.GetOptions{})
	fmt.Println(errors.Is(err, client.ErrKeyNotFound))
	// Output:
	// /greeting hello
	// true
}

// A compare-and-swap decides who is first. After a write with an unknown outcome the client reads, and does not repeat it.
func ExampleClient_Set() {
	endpoints, end := startMember()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for _, name := range []string{"ann", "bob"} {
		_, err := c.Set(ctx, "/leader", name, client.SetOptions{TTL: 30 * time.Second, PrevExist: client.Never})
		switch {
		case err == nil:
			fmt.Println(name, "leads")
		case errors.Is(err, client.ErrNodeExist):
			fmt.Println(name, "follows")
		case errors.Is(err, client.ErrUnknownOutcome):
			fmt.Println(name, "has to read the key to know")
		default:
			log.Fatal(err)
		}
	}
	// Output:
	// ann leads
	// bob follows
}

// To keep a copy of a directory, read it, then follow its changes from there. If the servers no longer have the changes after
// the copy, read it again.
func ExampleClient_Watch() {
	endpoints, end := startMember()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Set(ctx, "/services/web", "10.0.0.1", client.SetOptions{}); err != nil {
		log.Fatal(err)
	}

	services, err := c.Get(ctx, "/services", client.GetOptions{Recursive: true})
	if err != nil {
		log.Fatal(err)
	}
	for _, node := range services.Node.Nodes {
		fmt.Println("there is", node.Key, node.Value)
	}
	if _, err := c.Delete(ctx, "/services/web", client.DeleteOptions{}); err != nil {
		log.Fatal(err)
	}
	changes := c.Watch("/services", client.WatchOptions{Recursive: true, After: services.Index})
	event, err := changes.Next(ctx) // survives lost connections, members and leaders
	switch {
	case errors.Is(err, client.ErrIndexCleared):
		fmt.Println("read /services again")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(event.Action, event.Node.Key)
	}
	// Output:
	// there is /services/web 10.0.0.1
	// delete /services/web
}

// Sync gets all members from one of them.
func ExampleClient_Sync() {
	endpoints, end := startMember()
	defer end()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.New(client.Config{Endpoints: endpoints})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	if err := c.Sync(ctx); err != nil {
		log.Fatal(err)
	}
	all, err := c.Members(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(all.Members), "member,", len(c.Endpoints()), "endpoint")
	// Output: 1 member, 1 endpoint
}
