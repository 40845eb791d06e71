import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.domain.ComponentMetadata;
import io.dapr.client.domain.DaprMetadata;
import io.dapr.client.domain.SubscribeConfigurationResponse;
import io.dapr.config.Properties;
import io.dapr.exceptions.DaprException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Supplier;

/**
 * Dapr's own Java SDK, unmodified, against a running server: a line for each call and its outcome.
 *
 * <p>Takes the address and the token from the variables that the SDK itself reads. Every expectation
 * is what the SDK gives against {@code daprd}.
 */
final class Sdk {
  private static final Duration SOON = Duration.ofSeconds(10);
  private static boolean failed;

  public static void main(String[] arguments) {
    try (DaprClient client = new DaprClientBuilder().build()) {
      secrets(client);
      configuration(client);
      otherToken();
    } catch (Exception error) {
      show("calls", error, "no error");
    }
    // Threads of the SDK would keep the program.
    System.exit(failed ? 1 : 0);
  }

  private static void secrets(DaprClient client) {
    client.waitForSidecar((int) SOON.toMillis()).block();
    show("start-up wait", true, true);
    show("get", client.getSecret("file", "redis").block(), Map.of("redis", "one"));
    show("key with a slash", client.getSecret("file", "a/b").block(), Map.of("a/b", "two"));
    Map<?, ?> all = Map.of("redis", Map.of("redis", "one"), "a/b", Map.of("a/b", "two"));
    show("bulk", client.getBulkSecret("file").block(), all);
    show("denied", refusal(() -> client.getSecret("file", "denied").block()), "PERMISSION_DENIED");
    show("absent", refusal(() -> client.getSecret("file", "nope").block()), "INTERNAL");
    show("unknown store", refusal(() -> client.getSecret("none", "x").block()), "INVALID_ARGUMENT");
    DaprMetadata metadata = client.getMetadata().block();
    List<String> names = new ArrayList<>(List.of(metadata.getId()));
    metadata.getComponents().stream().map(ComponentMetadata::getName).forEach(names::add);
    show("metadata", names, List.of("myapp", "file", "cfg"));
  }

  private static void configuration(DaprClient client) throws Exception {
    show("configuration get", client.getConfiguration("cfg", "orderId").block().getValue(), "100");
    String unknown = refusal(() -> client.getConfiguration("none", "orderId").block());
    show("configuration, unknown store", unknown, "INVALID_ARGUMENT");
    Iterator<SubscribeConfigurationResponse> stream =
        client.subscribeConfiguration("cfg", "orderId").timeout(SOON).toIterable().iterator();
    // The first message has the id alone.
    String id = stream.next().getSubscriptionId();
    Files.writeString(Path.of(System.getenv("ITEMS")), "orderId: '101'\n");
    SubscribeConfigurationResponse change = stream.next();
    List<String> outcome =
        List.of(change.getSubscriptionId(), change.getItems().get("orderId").getValue());
    show("configuration subscribe", outcome, List.of(id, "101"));
    boolean ended = client.unsubscribeConfiguration(id, "cfg").block().getIsUnsubscribed();
    show("configuration unsubscribe", List.of(ended, stream.hasNext()), List.of(true, false));
  }

  /** The SDK takes an empty token for none and the one of the environment in its place. */
  private static void otherToken() throws Exception {
    DaprClientBuilder builder =
        new DaprClientBuilder().withPropertyOverride(Properties.API_TOKEN, "another");
    try (DaprClient client = builder.build()) {
      String secret = refusal(() -> client.getSecret("file", "redis").block());
      show("another token", secret, "UNAUTHENTICATED");
      String stream =
          refusal(() -> client.subscribeConfiguration("cfg", "orderId").blockFirst(SOON));
      show("configuration subscribe, another token", stream, "UNAUTHENTICATED");
    }
  }

  /** The code of a refused call. */
  private static String refusal(Supplier<?> call) {
    try {
      return "answered: " + call.get();
    } catch (DaprException error) {
      return error.getErrorCode();
    }
  }

  private static void show(String call, Object outcome, Object expected) {
    boolean ok = Objects.equals(outcome, expected);
    failed |= !ok;
    String shown = ok ? "ok" : outcome + " in place of " + expected;
    System.out.printf("| java | %s | %s |%n", call, shown);
  }
}
