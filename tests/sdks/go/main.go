// Dapr's own Go SDK, unmodified, against a running server: a line for each call and its outcome.
//
// Takes the address and the token from the variables that the SDK itself reads. Every expectation is
// what the SDK gives against `daprd`.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/dapr/go-sdk/client"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	failed bool
	table  = os.Stdout
)

// What a call came to; and why, where that is all that the SDK can do.
func show(call string, outcome, expected any, why ...string) {
	shown := strings.Join(append([]string{"ok"}, why...), ", ")
	if !reflect.DeepEqual(outcome, expected) {
		failed = true
		shown = fmt.Sprintf("%v in place of %v", outcome, expected)
	}
	fmt.Fprintf(table, "| go | %s | %s |\n", call, shown)
}

// The code of a refused call, which the SDK wraps.
func refusal(_ any, err error) codes.Code {
	return status.Code(err)
}

// Dapr's reason of a refused call, and the class that tells an absent secret from a failed store.
func class(_ any, err error) [2]string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return [2]string{info.GetReason(), info.GetMetadata()["keyref-class"]}
		}
	}
	return [2]string{}
}

func must[T any](outcome T, err error) T {
	if err != nil {
		panic(err)
	}
	return outcome
}

func secrets(ctx context.Context, dapr client.Client) {
	show("start-up wait", dapr.Wait(ctx, 10*time.Second), nil)
	show("get", must(dapr.GetSecret(ctx, "file", "redis", nil)), map[string]string{"redis": "one"})
	show("key with a slash", must(dapr.GetSecret(ctx, "file", "a/b", nil)), map[string]string{"a/b": "two"})
	bulk := must(dapr.GetBulkSecret(ctx, "file", nil))
	show("bulk", bulk, map[string]map[string]string{"redis": {"redis": "one"}, "a/b": {"a/b": "two"}})
	show("denied", refusal(dapr.GetSecret(ctx, "file", "denied", nil)), codes.PermissionDenied)
	show("absent", refusal(dapr.GetSecret(ctx, "file", "nope", nil)), codes.Internal)
	show("absent, told from failed", class(dapr.GetSecret(ctx, "file", "nope", nil)), [2]string{"ERR_SECRET_GET", "secret-absent"})
	show("unknown store", refusal(dapr.GetSecret(ctx, "none", "x", nil)), codes.InvalidArgument)
	metadata := must(dapr.GetMetadata(ctx))
	names := []string{metadata.ID}
	for _, component := range metadata.RegisteredComponents {
		names = append(names, component.Name)
	}
	show("metadata", names, []string{"myapp", "file", "cfg"})
}

// The SDK says on standard output alone that it has stopped to listen for changes.
const finished = "dapr configuration subscribe finished."

func configuration(ctx context.Context, dapr client.Client, ends *bufio.Scanner) {
	got := must(dapr.GetConfigurationItem(ctx, "cfg", "orderId"))
	show("configuration get", got.Value, "100")
	show("configuration, unknown store", refusal(dapr.GetConfigurationItem(ctx, "none", "orderId")), codes.InvalidArgument)

	changes := make(chan [2]string, 8)
	changed := func(id string, items map[string]*client.ConfigurationItem) {
		changes <- [2]string{id, items["orderId"].Value}
	}
	id := must(dapr.SubscribeConfigurationItems(ctx, "cfg", []string{"orderId"}, changed))
	if err := os.WriteFile(os.Getenv("ITEMS"), []byte("orderId: '101'\n"), 0o600); err != nil {
		panic(err)
	}
	select {
	case change := <-changes:
		show("configuration subscribe", change, [2]string{id, "101"})
	case <-time.After(10 * time.Second):
		panic(errors.New("no change arrived"))
	}
	err := dapr.UnsubscribeConfigurationItems(ctx, "cfg", id)
	ends.Scan()
	show("configuration unsubscribe", []any{err, ends.Text(), len(changes)}, []any{nil, finished, 0})
}

func withoutToken(ctx context.Context, dapr client.Client, ends *bufio.Scanner) {
	dapr.WithAuthToken("")
	show("no token", refusal(dapr.GetSecret(ctx, "file", "redis", nil)), codes.Unauthenticated)
	answered := make(chan error, 1)
	go func() {
		_, err := dapr.SubscribeConfigurationItems(ctx, "cfg", []string{"orderId"}, nil)
		answered <- err
	}()
	// Who would tell the call of the refusal has gone.
	ends.Scan()
	show("configuration subscribe, no token", []any{ends.Text(), len(answered)}, []any{finished, 0},
		"no answer: it waits for ever for the id that a refused call never has")
}

func main() {
	reader, writer, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	os.Stdout = writer
	ends := bufio.NewScanner(reader)
	client.SetLogger(nil)
	ctx := context.Background()
	dapr := must(client.NewClient())
	secrets(ctx, dapr)
	configuration(ctx, dapr, ends)
	withoutToken(ctx, dapr, ends)
	if failed {
		os.Exit(1)
	}
}
