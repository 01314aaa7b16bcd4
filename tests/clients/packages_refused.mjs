// What the package for JavaScript says of a server at its argument: the message, and whether nothing but an error came.
import { credentials } from "../../clients/javascript/index.js";

try {
  const provider = credentials({ grant: "daily", server: process.argv[2], token: process.argv[3] });
  const all = await Promise.all([provider(), provider(), provider()]);
  console.log(JSON.stringify({ keys: all.map(({ accessKeyId }) => accessKeyId) }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message, code: error.code }));
}
