// The Java client as it comes. It judges nothing: what it read goes to stdout, one record a line.
//
//   produce BOOTSTRAP TOPIC PARTITIONS COUNT     idempotent, zstd; record n goes to partition n % PARTITIONS
//   consume BOOTSTRAP TOPIC GROUP COUNT          subscribes, reads COUNT records, commits, leaves

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

public final class Stranger {
    public static void main(String[] args) throws Exception {
        if (args[0].equals("produce")) {
            produce(args[1], args[2], Integer.parseInt(args[3]), Integer.parseInt(args[4]));
        } else {
            consume(args[1], args[2], args[3], Integer.parseInt(args[4]));
        }
    }

    private static void produce(String bootstrap, String topic, int partitions, int count) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("enable.idempotence", "true");
        settings.put("acks", "all");
        settings.put("compression.type", "zstd");
        settings.put("linger.ms", "5");
        StringSerializer text = new StringSerializer();
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(settings, text, text)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int n = 0; n < count; n++) {
                // the same as in the test that compares
                String value = "value-" + n + "-" + "x".repeat(n % 200);
                sent.add(producer.send(new ProducerRecord<>(topic, n % partitions, "key-" + n, value)));
            }
            for (Future<RecordMetadata> one : sent) {
                one.get();
            }
        }
    }

    private static void consume(String bootstrap, String topic, String group, int count) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", group);
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("max.poll.records", "500");
        StringBuilder out = new StringBuilder();
        StringDeserializer text = new StringDeserializer();
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings, text, text)) {
            consumer.subscribe(List.of(topic));
            long until = System.nanoTime() + Duration.ofSeconds(30).toNanos();
            int read = 0;
            while (read < count && System.nanoTime() < until) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    out.append(record.partition()).append(' ').append(record.offset()).append(' ')
                        .append(record.key()).append(' ').append(record.value()).append('\n');
                    read++;
                }
            }
            consumer.commitSync();
        }
        System.out.print(out);
    }
}
