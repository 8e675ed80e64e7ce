# Count again what this run did; the numbers come from the tasks' XComs.
set -euo pipefail

echo "$LOADED rows came in monthly files, the daily table counts $COUNTED flights"
test "$LOADED" -eq "$COUNTED"

# gzip -d checks the checksum of the result on the way.
lines=$(
  python -c '
import boto3, os, shutil, sys
body = boto3.client("s3").get_object(Bucket=os.environ["BUCKET"], Key=os.environ["KEY"])["Body"]
shutil.copyfileobj(body, sys.stdout.buffer)
' | gzip -dc | tail -n +2 | wc -l
)
echo "s3://$BUCKET/$KEY holds $lines days of an airport, the daily table $DAYS"
test "$lines" -eq "$DAYS"

echo "$COUNTED flights on $lines days of an airport: all there"
